"""Models of different families in one configuration: each request's answer is the one that it gets
alone."""

import json

import pytest

from support import millrace
from support.families import write_model
from support.jobs import chat, line, read_lines, write_lines

FAMILIES = {
    "mixture": "mixtral-window",
    "latent": "deepseek-v2-groups-yarn",
    "qwen": "qwen2-late-window-yarn",
    "results": "olmo2",  # whose layers normalize what they add
}
REQUESTS = 36


def request(model, number):
    options = dict(
        model=model,
        max_tokens=6 + number % 17,
        temperature=number % 3 / 2,
        seed=number,
        logprobs=True if number % 4 == 3 else 0,
        ignore_eos=number % 5 == 0,
    )
    text = f"Note {number}. " * (1 + number % 7)
    if number % 4 == 3:
        return chat(f"{model}-{number}", text, **options)
    body = {**options, "prompt": text, "n": 1 + number % 2}
    return line(f"{model}-{number}", body, url="/v1/completions")


def answers(folder, name, config, requests):
    source, target = folder / f"{name}-in.jsonl", folder / f"{name}.jsonl"
    path = folder / f"{name}.yaml"
    path.write_text(json.dumps(config))
    result = millrace.run("batch", "--config", path, write_lines(source, requests), target)
    found = {}
    for answer in read_lines(target):
        assert answer["response"]["status_code"] == 200, answer
        found[answer["custom_id"]] = answer["response"]["body"]["choices"]
    assert result.returncode == 0, result.stderr
    assert found.keys() == {request["custom_id"] for request in requests}
    return found


@pytest.mark.parametrize("weights", ["f32", "int8"])
def test_four_families_side_by_side_answer_as_each_does_alone(binary, tmp_path, weights):
    models = [
        dict(name=name, path=str(write_model(tmp_path / name, case, seed)))
        for seed, (name, case) in enumerate(FAMILIES.items())
    ]
    requests = [request(list(FAMILIES)[i % 4], i) for i in range(REQUESTS)]
    engine = dict(weights=weights, max_num_seqs=16, max_num_batched_tokens=64)
    together = answers(tmp_path, "together", dict(models=models, engine=engine), requests)
    small = {**engine, "max_num_seqs": 1, "max_num_batched_tokens": 24}
    for model in models:
        own = [r for r in requests if r["body"]["model"] == model["name"]]
        alone = answers(tmp_path, model["name"], dict(models=[model], engine=small), own[::-2])
        for name, choices in alone.items():
            assert choices == together[name]


def test_a_folder_is_described_with_its_adapter(binary, tmp_path):
    folder = write_model(tmp_path / "model", "deepseek-v3-one-dense", 0)
    adapter = tmp_path / "adapter"
    adapter.mkdir()
    settings = dict(peft_type="LORA", r=2, lora_alpha=4, target_modules=["o_proj"])
    (adapter / "adapter_config.json").write_text(json.dumps(settings))
    (adapter / "adapter_model.safetensors").write_bytes(b"\x02" + bytes(7) + b"{}")
    check = millrace.run("model", "check", folder, "--json", "--adapter", adapter)
    assert check.returncode == 2
    assert "layers.0.self_attn.o_proj.lora_A.weight is missing" in check.stderr
    (adapter / "adapter_config.json").write_text(json.dumps({**settings, "target_modules": []}))
    check = millrace.run("model", "check", folder, "--json", "--adapter", adapter)
    assert check.returncode == 0, check.stderr
    report = json.loads(check.stdout)
    assert report["architecture"] == "DeepseekV3ForCausalLM"
    assert report["adapter"] == str(adapter)
