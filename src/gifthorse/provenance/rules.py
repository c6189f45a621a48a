"""The rules that findings come from: what each one means, and what to do about it.

GH001 and GH002 are the scan's own, in ``report/sarif.py``. Ids are never used again for something else.
"""

from dataclasses import dataclass
from typing import Final, Literal, final

Level = Literal["error", "warning"]

BADNETS = "Gu, Dolan-Gavitt, Garg, BadNets: Identifying Vulnerabilities in the ML Model Supply Chain, 2017"
TROJANNET = "Tang et al., An Embarrassingly Simple Approach for Trojan Attack in Deep Neural Networks, KDD 2020"
ARCHITECTURAL = "Bober-Irizar et al., Architectural Backdoors in Neural Networks, CVPR 2023"
SHATTERED = "Stevens et al., The First Collision for Full SHA-1, CRYPTO 2017"
SIGNING = "OpenSSF Model Signing specification 1.0"
PICKLE = "Python documentation, pickle: never unpickle data that could have been tampered with"


@final
@dataclass(frozen=True)
class Rule:
    """A kind of finding.

    Attributes:
        id: as SARIF and the reports have it.
        name: in one word.
        level: error where something speaks against the file, or may; warning where it is worth a look.
        leaves_open: whether it says that something could not be told, instead of that something was found.
        short: one sentence.
        explanation: what it means.
        help: what to do.
        severity: of security, from 0 to 10, as code-scanning services sort by it.
        references: where to read on.
    """

    id: str
    name: str
    level: Level
    leaves_open: bool
    short: str
    explanation: str
    help: str
    severity: str
    references: tuple[str, ...] = ()


RULES: Final = (
    Rule(
        "GH101",
        "NotAsStated",
        "error",
        False,
        "The file is not the one that was stated.",
        "Its hash or its size differs from what was stated. The file was damaged, or exchanged, or the statement is "
        "about another version of it.",
        "Do not use the file. Fetch it again from a source that you trust, and ask the one who states the hash.",
        "9.0",
        (BADNETS,),
    ),
    Rule(
        "GH102",
        "SignatureNotValid",
        "error",
        False,
        "The signature does not hold.",
        "The signature was not made with the key that belongs to the public key or certificate given, or the files "
        "are not those that were signed.",
        "Do not use the files. Make sure that the key is the signer's, and fetch files and signature again.",
        "9.0",
        (SIGNING,),
    ),
    Rule(
        "GH103",
        "NoHashStated",
        "warning",
        True,
        "Nothing states what the file's hash is.",
        "There is no way to tell whether this is the file that its maker has published: whoever could write to where "
        "it was kept, or came between, could have exchanged it.",
        "Ask its maker for a SHA-256 and give it as --sha256, or for a signature and a public key.",
        "4.0",
        (BADNETS,),
    ),
    Rule(
        "GH104",
        "WeakHashOnly",
        "warning",
        True,
        "Only MD5 or SHA-1 vouches for the file.",
        "The hash agrees, but two files with the same MD5 or SHA-1 can be made on purpose: whoever made the file may "
        "have another one with the same hash.",
        "Ask its maker for a SHA-256 or a signature.",
        "4.0",
        (SHATTERED,),
    ),
    Rule(
        "GH105",
        "FetchedOverHttp",
        "warning",
        True,
        "The file, or what states its hash, comes over plain HTTP.",
        "Whoever is on the way can exchange both the file and its hash on a connection that is not encrypted.",
        "Take the hash from a page over HTTPS, and give it as --sha256.",
        "5.0",
        (BADNETS,),
    ),
    Rule(
        "GH106",
        "StatementNotUsed",
        "warning",
        True,
        "A statement about the file could not be read, or was not used.",
        "It is too large, damaged, a link, or about a place outside of its folder. What it says was not checked.",
        "Look at the statement, and give the hash as --sha256.",
        "3.0",
    ),
    Rule(
        "GH107",
        "FileMissing",
        "warning",
        True,
        "A file that was stated is not there.",
        "A list of hashes names a file that the folder does not hold. What it was for is not known.",
        "Fetch the folder again, as a whole.",
        "3.0",
    ),
    Rule(
        "GH110",
        "CarriesCode",
        "error",
        False,
        "Opening the file would run code that weights do not need.",
        "The file names functions that run programs, read and write files, or reach the network, or holds code of "
        "its own. A program that opens it as usual runs that code with all rights of its user.",
        "Do not open the file. Ask its maker for the weights alone, as safetensors.",
        "9.5",
        (PICKLE,),
    ),
    Rule(
        "GH111",
        "CallsOtherNames",
        "warning",
        False,
        "Opening the file would call what weights do not need.",
        "The file is a pickle that looks up names beyond those that a dictionary of tensors needs, such as the "
        "classes of a whole network. None is known to be dangerous, but no list of what is dangerous is complete.",
        "Ask its maker for the weights alone: torch.save(model.state_dict(), …), or safetensors.",
        "6.0",
        (PICKLE,),
    ),
    Rule(
        "GH112",
        "FormatRunsCode",
        "warning",
        False,
        "Files of this format can run code when they are opened.",
        "The format holds a program besides numbers. What the program does was looked through, which is no proof.",
        "Ask its maker for the weights alone, as safetensors, or open the file in a closed box only.",
        "6.0",
    ),
    Rule(
        "GH113",
        "LeavesTheFile",
        "error",
        False,
        "The file reaches out of itself.",
        "It holds a link to another file, or a name that leads out of the folder that it would be unpacked to. "
        "Opening or unpacking it would read or overwrite files that are not part of it.",
        "Do not open or unpack the file.",
        "8.0",
    ),
    Rule(
        "GH114",
        "UnpacksTooLarge",
        "error",
        False,
        "The file unpacks to far more than its own size.",
        "Files that are made so fill the memory or the disk of whoever opens them.",
        "Do not open the file.",
        "6.0",
    ),
    Rule(
        "GH115",
        "Damaged",
        "warning",
        True,
        "The file is damaged, or made to look so.",
        "It cannot be followed to its end. What stands behind the damage was not looked at.",
        "Fetch the file again, or have it saved again.",
        "5.0",
    ),
    Rule(
        "GH116",
        "NotLookedInto",
        "warning",
        True,
        "A part of the file was not looked into.",
        "Nothing is said of it, for better or worse.",
        "Have the model saved as safetensors; or install what the message names, and look again.",
        "3.0",
    ),
    Rule(
        "GH117",
        "PointerOnly",
        "warning",
        True,
        "The file stands for the model, and is not the model.",
        "It is a Git LFS pointer: a few lines of text that say what the hash of the file itself is.",
        "Fetch the file with git lfs pull, and verify it with --stated and the pointer.",
        "3.0",
    ),
    Rule(
        "GH118",
        "MisbehavesWhenOpened",
        "error",
        False,
        "Opened in a closed process, the file did what no model needs.",
        "It crashed the process, did not come to an end, ran out of memory, or reached for files or the network. The "
        "process is one with nothing to lose; nothing else was touched.",
        "Do not open the file elsewhere. Ask its maker for the weights alone, as safetensors.",
        "8.0",
    ),
    Rule(
        "GH120",
        "CustomLayer",
        "warning",
        False,
        "The model names a layer that is not part of its framework.",
        "To load the model, code of its maker has to be run, and what that layer does cannot be told from the file.",
        "Read that code before you run it, or ask for a model without such layers.",
        "5.0",
    ),
    Rule(
        "GH121",
        "ForeignOperation",
        "warning",
        False,
        "The network does what classifiers have no use for.",
        "From the image, it computes something that is no usual part of a classifier: it compares, picks single "
        "numbers, sorts, draws by lot, or does what is not known here. Detectors of triggers are made so, and a step "
        "also hides from searches that follow gradients.",
        "Look at the place. Ask its maker what it is for, and hold the network against the published architecture.",
        "6.0",
        (TROJANNET, ARCHITECTURAL),
    ),
    Rule(
        "GH122",
        "DataDependentBranch",
        "warning",
        False,
        "What the network computes depends on what is in the image.",
        "It decides by the image which of its parts to run. The part that was not taken was not looked at, and may "
        "be anything.",
        "Look at the place, and ask its maker what it is for.",
        "6.0",
        (ARCHITECTURAL,),
    ),
    Rule(
        "GH123",
        "SidePath",
        "warning",
        False,
        "There is a second way from the image to the answer.",
        "A branch leaves the network early, does not share its layers, and joins it again near the answer. "
        "TrojanNet's small network beside the honest one is made so, and so are architectural backdoors; two networks "
        "whose answers are averaged look the same.",
        "Look at both branches. Hold the network against the published architecture.",
        "7.0",
        (TROJANNET, ARCHITECTURAL),
    ),
)
