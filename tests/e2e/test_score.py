"""`millrace score`: pairs of texts in, scores out, as JSON lines."""

import json

from support import millrace


def score(lines):
    """-> what is answered to each line, which is an object or a text."""
    texts = [text if isinstance(text, str) else json.dumps(text) for text in lines]
    result = millrace.run("score", input="".join(t + "\n" for t in texts))
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    answers = [json.loads(text) for text in result.stdout.splitlines()]
    assert len(answers) == len(texts)
    return answers


def test_each_line_is_answered_in_order_and_bad_ones_say_why(binary):
    cat = dict(reference="the cat sat on the mat", candidate="the cats sat on a mat")
    schema = dict(type="object", properties=dict(a=dict(type="integer")), colour=1)
    answers = score([
        cat,
        "no JSON",
        dict(reference="x"),
        dict(reference='{"a": 1}', candidate='{"a": "x"}', schema=schema),
        dict(candidate="x", schema={"$ref": "elsewhere.json"}),
        dict(candidate="x", schema=None, finish_reason="length"),
    ])
    plain, broken, without, fields, bad_schema, alone = answers
    assert plain["scores"]["rouge1"] == 0.666666667
    assert plain["scores"]["rouge1_stem"] == 0.833333333
    assert plain["scores"]["exact_match"] == 0
    assert plain["verdicts"] == dict(json=False)
    assert "not a JSON object" in broken["error"]
    assert "candidate is missing" in without["error"]
    assert fields["scores"]["field_accuracy"] == 0
    assert fields["verdicts"] == dict(json=True, schema=False, fields=False)
    assert fields["reasons"]["schema"] == "a: type integer"
    assert fields["unknown_keywords"] == ["colour"]
    assert "elsewhere.json, which is not within it" in bad_schema["error"]
    assert alone["scores"] == dict(refusal=0, truncated=1)


def test_messages_are_compared_with_their_calls(binary):
    def message(city):
        function = dict(name="weather", arguments=json.dumps(dict(city=city)))
        return dict(content=None, tool_calls=[dict(type="function", function=function)])

    same, other = score([dict(reference=message("Rome"), candidate=message(city))
                         for city in ("Rome", "Paris")])
    assert same["verdicts"]["tool_calls"] is True
    assert same["scores"]["tool_arguments"] == 1
    assert other["scores"]["tool_names"] == 1
    assert other["reasons"]["tool_calls"] == "weather: arguments differ at city"
