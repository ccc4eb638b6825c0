"""Reads lit's xUnit report, prints `N passed, N failed, N skipped`, and exits 1 unless tests ran
and none failed. (lit's JSON report leaves skipped tests out.)

    test_summary.py RESULTS.xml
"""

import collections
import pathlib
import sys
import xml.etree.ElementTree

NOT_SELECTED = "Test not selected"  # lit's words for a test that a filter excluded


def outcome(case):
    """`passed`, `failed`, `skipped`, or None for a test that is no part of this run."""
    if case.find("failure") is not None or case.find("error") is not None:
        return "failed"  # also timeouts, unresolved tests and unexpected passes
    skipped = case.find("skipped")
    if skipped is None:
        return "passed"
    return None if skipped.get("message", "").startswith(NOT_SELECTED) else "skipped"


def main():
    report = pathlib.Path(sys.argv[1])
    cases = []
    if report.exists():
        cases = xml.etree.ElementTree.parse(report).getroot().iter("testcase")
    count = collections.Counter(map(outcome, cases))
    if not count["passed"] and not count["failed"]:
        print("error: no test ran", file=sys.stderr)
    print(f"{count['passed']} passed, {count['failed']} failed, {count['skipped']} skipped")
    return 0 if count["passed"] and not count["failed"] else 1


if __name__ == "__main__":
    sys.exit(main())
