"""Two versions of one mixer in one bake-off: `[mixers.NAME] kind = ...`."""

import pytest

from bakeoff.errors import BakeoffError
from bakeoff.models.mixers import Attention, Mamba
from bakeoff.protocol.presets import load_protocol
from bakeoff.trial.candidate import candidates
from bakeoff.trial.plan import make_plan

PLAIN = 'mixers.plain={kind = "mamba", selective = false}'
USED = 'backbones.1={name = "plain", mixers = ["plain"], repeats = 2}'


def test_each_is_built_with_its_own_options() -> None:
    protocol = load_protocol("smoke", [PLAIN, USED, "mixers.mamba.d_state=4"])
    mamba, plain, _ = candidates(protocol)
    first, second = (
        one.blueprint.build(one.blueprint.nominal()).residual_branches()[0].mixer for one in (mamba, plain)
    )
    assert isinstance(first, Mamba) and isinstance(second, Mamba)
    assert (first.selective, first.d_state) == (True, 4) and (second.selective, second.d_state) == (False, 16)
    plan = make_plan(protocol)
    assert plan.of("plain").knob[0] == "d_inner"
    assert protocol.document()["mixers"]["plain"] == {"kind": "mamba", "selective": False, "d_state": 16, "d_conv": 4}
    assert load_protocol("smoke", [PLAIN, USED, "mixers.plain.d_conv=4"]).digest() != protocol.digest()


def test_attention_twice() -> None:
    sets = ['mixers.one={kind = "attention", heads = 1}', 'backbones.1={name = "two", mixers = ["one", "attention"]}']
    _, two, _ = candidates(load_protocol("smoke", sets))
    built = [branch.mixer for branch in two.blueprint.build(two.blueprint.nominal()).residual_branches()]
    assert [mixer.heads for mixer in built if isinstance(mixer, Attention)] == [1, 4]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (['mixers.plain={kind = "mamba", selectiv = false}', USED], "selectiv"),
        (['mixers.plain={kind = "mambo"}', USED], "did you mean mamba"),
        ([PLAIN], "options of a mixer that is not used"),
        (["mixers.plain={selective = false}", USED], "unknown mixer"),
        (
            ['mixers.one={kind = "attention", heads = 3}', 'backbones.1={name = "a", mixers = ["one"]}'],
            "mixers.one.heads = 3",
        ),
    ],
)
def test_what_is_no_version_is_refused(changes: list[str], said: str) -> None:
    with pytest.raises(BakeoffError, match=said):
        load_protocol("smoke", changes)
