"""The commands in the order in which help lists them: name -> what it does, in one line.

Each has a module of its name (underscores for hyphens) with a ``COMMAND``, which is imported when
it is needed.
"""

SUMMARIES = {
    "view": "open the window on two images or a set of pairs",
    "match": "match points of one image to another and write them as CSV",
    "describe": "write the dense descriptor maps of an image",
    "evaluate": "measure descriptors on HPatches or another set of pairs",
    "study": "find out which layer of a network matches best, and what each is like",
    "report": "make the report of evaluations, several runs in one",
    "leaderboard": "rank the results of many evaluations on one page",
    "train": "train a descriptor on photos",
    "export": "take the weights out of a training run",
    "descriptors": "list the descriptors with their settings",
    "demo": "write the demo sequences into a folder",
    "download": "download the HPatches sequences",
    "doctor": "check this computer and suggest fixes",
    "install-desktop": "put the program among the applications of a Linux desktop",
    "bench": "measure the program on this computer",
}
