/* rouge: ROUGE-N, ROUGE-L and ROUGE-Lsum of two lists of words, as Google's rouge-score 0.1.2
 * computes them. Thread: any; the arena's. */
#ifndef PIPELINE_COMPARE_ROUGE_H
#define PIPELINE_COMPARE_ROUGE_H

#include "pipeline/compare/words.h"

/* ROUGE-L and ROUGE-Lsum are not computed where their longest common subsequences would take more
 * steps than this: for each pair of sentences (for ROUGE-L, of texts) the words of the reference's
 * times a 64th of those of the candidate's, which is two texts of 16,000 words, or of 450 sentences
 * each. A few milliseconds. */
enum { ROUGE_STEPS_MAX = 1 << 22 };

struct rouge {
    double precision;
    double recall;
    double f;
};

struct rouges {
    struct rouge n1;
    struct rouge n2;
    struct rouge l;
    struct rouge lsum;
    bool has_l; // false past ROUGE_STEPS_MAX
    bool has_lsum;
};

MUST_CHECK bool rouge_compute(const struct words_pair *pair, struct arena *arena,
                              struct rouges *rouges_out, struct error *error);

/* Overlap: numbers that both have, each as often as in the one that has fewer. */
MUST_CHECK bool rouge_overlap(const struct words_pair *pair, struct arena *arena,
                              size_t *overlap_out, struct error *error);

/* Precision, recall and their harmonic mean; 0 where something is empty. */
struct rouge rouge_of(size_t overlap, size_t reference_count, size_t candidate_count);

#endif
