"""What RQ's workers run."""
import work


def task(text):
    return work.work(text)
