from gifthorse.core.progress import prefixed, silent


def test_prefixed_says_whose_work_it_is():
    told = []
    tell = prefixed(lambda what, *, done, total: told.append((what, done, total)), "again")
    tell("scan", done=1, total=2)
    assert told == [("again: scan", 1, 2)]


def test_silent_takes_what_all_are_told():
    silent("scan", done=1, total=2)
