"""Times OpenVINO GenAI as `PROGRAM --bench` times a compiled program, and prints the same JSON.

OpenVINO reads the GGUF itself. Only the number of threads is set; everything else is its default.
The times are OpenVINO's own (`perf_metrics`), from token ids, greedy, without a stop:

  prefill    prompt tokens / time to the first token of an answer to --prompt-tokens tokens
             (0: left out)
  decode     --gen-tokens / the time from the first token of an answer to the last, after a prompt
             of --depth tokens (at least one)
  ttft_ms    from the start of loading to the first token after 32 prompt tokens
  batch      with --batch N only `batch_decode_tok_s`: N prompts of --depth tokens at once

Sampling (greedy) is part of its times; it takes a small share. OpenVINO keeps what it knows of
earlier prompts (prefix caching), so no two prompts of a run begin alike.
"""

import statistics
import time

import numpy as np
import openvino as ov
import openvino_genai as genai

from peer import FIRST_PROMPT, WARM_UP, parse_options, print_result

VOCAB = 32000      # ids stay below the size of any Llama's vocabulary


class Pipeline:
    def __init__(self, model, threads):
        self.pipe = genai.LLMPipeline(model, "CPU", INFERENCE_NUM_THREADS=threads)
        self.prompts = 0

    def answer(self, prompt_tokens, new_tokens, batch=1):
        """perf_metrics of the answers to `batch` new prompts, each of exactly `new_tokens`."""
        ids = np.empty((batch, max(prompt_tokens, 1)), dtype=np.int64)
        for row in ids:
            row[:] = (17 + 104729 * self.prompts + 7919 * np.arange(len(row))) % VOCAB
            self.prompts += 1
        config = genai.GenerationConfig()
        config.max_new_tokens = new_tokens
        config.ignore_eos = True
        config.do_sample = False
        config.apply_chat_template = False
        inputs = genai.TokenizedInputs(ov.Tensor(ids), ov.Tensor(np.ones_like(ids)))
        return self.pipe.generate(inputs, config).perf_metrics


def time_alone(pipe, options):
    prefill_runs, decode_runs = [], []
    for _ in range(options.reps):
        if options.prompt_tokens:
            metrics = pipe.answer(options.prompt_tokens, 1)
            prefill_runs.append(options.prompt_tokens / metrics.get_ttft().mean * 1e3)
        metrics = pipe.answer(options.depth, 1 + options.gen_tokens)
        decode_runs.append(1e3 / metrics.get_tpot().mean)
    return {f"{name}_{key}": value
            for name, runs in (("prefill", prefill_runs), ("decode", decode_runs)) if runs
            for key, value in (("tok_s", round(statistics.median(runs), 2)),
                               ("runs", [round(x, 2) for x in runs]))}


def time_batch(pipe, options):
    pipe.answer(1, 2, options.batch)  # warms up
    runs = []
    for _ in range(options.reps):
        metrics = pipe.answer(options.depth, 1 + options.gen_tokens, options.batch)
        sizes = metrics.raw_metrics.m_batch_sizes
        if len(sizes) != 1 + options.gen_tokens or min(sizes) != options.batch:
            raise SystemExit("error: OpenVINO did not answer the prompts side by side")
        # Of a step's time it counts a part for each token.
        runs.append(1e3 / metrics.get_tpot().mean)
    return {"batch": options.batch, "batch_decode_tok_s": round(statistics.median(runs), 2)}


def main():
    options = parse_options(__doc__)

    start = time.perf_counter()
    pipe = Pipeline(options.model, options.threads)
    pipe.answer(FIRST_PROMPT, 1)
    result = {"ttft_ms": round((time.perf_counter() - start) * 1e3, 1)}
    if options.batch:
        result.update(time_batch(pipe, options))
    else:
        pipe.answer(WARM_UP, 2)
        result.update(time_alone(pipe, options))
    print_result(result, options)


if __name__ == "__main__":
    main()
