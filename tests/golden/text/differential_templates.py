#!/usr/bin/env python3
"""Compares renders of chat templates with those of transformers, on random conversations.

    cmake --build --preset release --target millrace
    pip install transformers==5.24.0 jinja2==3.1.6 && ./differential_templates.py [--seed N]

Templates: all of ../shared/data/chat-templates. Each renders the same conversations, with tools and
without. A text must be the same byte for byte; what fails there must fail here, and what the
template itself says against the messages (raise_exception) must be in the message.
"""

import argparse
import json
import pathlib
import random
import subprocess
import sys

import jinja2
from transformers.utils.chat_template_utils import _compile_jinja_template

ROOT = pathlib.Path(__file__).resolve().parents[3]
TEMPLATES = ROOT.parent / "shared" / "data" / "chat-templates"
PROGRAM = ROOT / "build" / "release" / "worker" / "millrace"

CONTENTS = [
    "Hi",
    "",
    "  two\n lines  \n",
    "你好 🦙 é \u2028",
    "<b>&amp;</b> \"q\" 'q' \\ {{ x }} {% if %}",
    "<think>\nhm\n</think>\n\nSo.",
    "[TOOL_CALLS] </s><|im_end|>",
    '{"a": [1, 2.5, null]}',
]
ARGUMENTS = [
    {},
    {"city": "Zürich", "n": 3},
    {"z": 1, "a": [True, None, 1.5, {"k": '<"&>'}], "text": "x\ny"},
]
PARAMETERS = {
    "type": "object",
    "properties": {
        "city": {"type": "string", "description": "A city <&> 'x'", "enum": ["A", "Zürich"]},
        "n": {"type": ["integer", "null"], "default": 3},
        "list": {"type": "array", "items": {"type": "number"}},
    },
    "required": ["city"],
}


def make_tools(rng):
    tools = []
    for i in range(rng.randrange(1, 4)):
        function = {"name": f"f{i}", "description": rng.choice(CONTENTS)}
        if rng.random() < 0.8:
            function["parameters"] = PARAMETERS
        if rng.random() < 0.2:
            function["return"] = {"type": "string"}
        tools.append({"type": "function", "function": function})
    return tools


def assistant(rng):
    message = {"role": "assistant", "content": rng.choice(CONTENTS)}
    if rng.random() < 0.2:
        message["reasoning_content"] = rng.choice(CONTENTS)
    return message


def calls(rng, number):
    """A call, or two, and what came of it."""
    made = []
    for i in range(rng.choice((1, 1, 2))):
        arguments = rng.choice(ARGUMENTS)
        function = {"name": f"f{i}", "arguments": arguments}
        if rng.random() < 0.5:  # as OpenAI has them
            function["arguments"] = json.dumps(arguments, ensure_ascii=rng.random() < 0.5)
        made.append({"id": f"call{number}{i:04d}"[:9], "type": "function", "function": function})
    content = rng.choice(["", "Let me look.", None])
    yield {"role": "assistant", "content": content, "tool_calls": made}
    for call in made[: rng.choice((0, 1, 2, 2))]:
        result = {"role": "tool", "content": rng.choice(CONTENTS), "tool_call_id": call["id"]}
        if rng.random() < 0.5:
            result["name"] = call["function"]["name"]
        yield result


def conversation(rng):
    messages = []
    if rng.random() < 0.4:
        messages.append({"role": "system", "content": rng.choice(CONTENTS)})
    for turn in range(rng.randrange(1, 4)):
        messages.append({"role": "user", "content": rng.choice(CONTENTS)})
        if rng.random() < 0.3:
            messages.extend(calls(rng, turn))
        if rng.random() < 0.7:
            messages.append(assistant(rng))
    if rng.random() < 0.1:
        rng.shuffle(messages)
    if rng.random() < 0.05:
        rng.choice(messages).pop("content", None)
    return messages


def make_cases(rng, count):
    for i in range(count):
        case = {"messages": conversation(rng), "add_generation_prompt": rng.random() < 0.6}
        case |= {"bos_token": "<s>", "eos_token": "</s>", "tools": None, "documents": None}
        if i % 2 == 0:
            case["tools"] = make_tools(rng)
        if rng.random() < 0.2:
            case["enable_thinking"] = rng.random() < 0.5
        yield case


def render(template, case):
    """The text, or the exception."""
    try:
        return template.render(**case)
    except Exception as exception:  # whatever it is: it must fail here too
        return exception


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--cases", type=int, default=200)
    arguments = parser.parse_args()
    rng = random.Random(arguments.seed)
    cases = list(make_cases(rng, arguments.cases))
    lines = "".join(json.dumps(case) + "\n" for case in cases)
    templates = renders = failures = wrong = 0
    for path in sorted(TEMPLATES.rglob("*.jinja")):
        template = _compile_jinja_template(path.read_text(encoding="utf-8"))
        run = subprocess.run(
            [PROGRAM, "model", "render", path], input=lines, capture_output=True, text=True
        )
        answers = [json.loads(line) for line in run.stdout.split("\n") if line]
        templates += 1
        if len(answers) != len(cases):
            print(f"{path.name}: {run.stderr.strip()}")
            wrong += len(cases)
            continue
        for case, answer in zip(cases, answers):
            expected = render(template, case)
            renders += 1
            if isinstance(expected, str):
                is_right = answer.get("text") == expected
            else:
                failures += 1
                own = isinstance(expected, jinja2.TemplateError) and str(expected)
                raised = type(expected) is jinja2.exceptions.TemplateError
                is_right = "error" in answer and (not raised or own[:200] in str(answer["error"]))
            if not is_right:
                wrong += 1
                if wrong <= 10:
                    print(path.name, json.dumps(case), "\n ", repr(expected)[:600])
                    print("  ", repr(answer)[:600])
    print(f"{templates} templates, {renders} renders, {failures} of them fail, {wrong} wrong")
    sys.exit(wrong > 0)


if __name__ == "__main__":
    main()
