"""References of a step: all of them, or those that apply to the chosen parameters."""

from cryoloom.contract.citations import CitedFor, references_of


def test_a_reference_applies_to_the_values_of_its_parameter():
    cited = ("Ada 1843", CitedFor("Grace 1952", "method", ("median", "mode")))
    assert references_of(cited) == ("Ada 1843", "Grace 1952")
    assert references_of(cited, {"method": "mode"}) == ("Ada 1843", "Grace 1952")
    assert references_of(cited, {"method": "mean"}) == ("Ada 1843",)
    assert references_of(cited, {}) == ("Ada 1843",)
