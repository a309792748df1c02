"""Makes statistics.json, what test_statistics and test_confusion compare with.

    pip install scipy==1.17.1 statsmodels==0.15.0 scikit-learn==1.9.1
    python make_statistics.py
"""

import json
import random
from pathlib import Path

import numpy
from scipy import stats
from sklearn import metrics
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.proportion import proportion_confint


def wilson():
    cases = [(0, 1), (1, 1), (0, 20), (20, 20), (7, 10), (93, 100), (4999, 5000), (3, 9)]
    for passed, count in cases:
        low, high = proportion_confint(passed, count, alpha=0.05, method="wilson")
        yield dict(passed=passed, count=count, low=float(low), high=float(high))


def mcnemars():
    cases = [(0, 0), (1, 0), (3, 3), (2, 9), (15, 40), (0, 60), (510, 430), (9000, 9400)]
    for first, second in cases:
        p = mcnemar([[5, first], [second, 5]], exact=True).pvalue
        yield dict(first=first, second=second, p=float(p))


def bootstraps(random_):
    for count in [2, 5, 30, 400]:
        values = [round(random_.betavariate(5, 2), 6) for _ in range(count)]
        made = stats.bootstrap((values,), numpy.mean, n_resamples=50000, method="percentile",
                               random_state=numpy.random.default_rng(8))
        low, high = made.confidence_interval
        yield dict(values=values, low=float(low), high=float(high))


def confusions(random_):
    for classes, count in [(2, 40), (4, 100), (5, 7)]:
        expected = [random_.randrange(classes) for _ in range(count)]
        given = [e if random_.random() < 0.6 else random_.randrange(classes) for e in expected]
        options = dict(labels=list(range(classes)), zero_division=0)
        each = metrics.precision_recall_fscore_support(expected, given, **options)
        rates = metrics.precision_recall_fscore_support
        means = [rates(expected, given, average=name, **options)[:3]
                 for name in ("macro", "weighted")]
        yield dict(classes=classes, expected=expected, given=given,
                   accuracy=metrics.accuracy_score(expected, given),
                   matrix=metrics.confusion_matrix(expected, given, labels=range(classes)).tolist(),
                   each=[[float(v) for v in row] for row in zip(*each)],
                   means=[[float(v) for v in row] for row in means])


def main():
    random_ = random.Random(8)
    made = dict(wilson=list(wilson()), mcnemar=list(mcnemars()),
                bootstrap=list(bootstraps(random_)), confusion=list(confusions(random_)))
    path = Path(__file__).with_name("statistics.json")
    path.write_text(json.dumps(made) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
