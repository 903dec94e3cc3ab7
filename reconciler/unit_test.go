package reconciler

import "testing"

func TestUnwritten(t *testing.T) {
	for want, addresses := range map[string][]string{
		"": nil,
		"what it was to make may exist though no state has it: a.b":                                {"a.b"},
		"what it was to make may exist though no state has it: 1, 2, 3, 4, 5, 6, 7, 8, and 1 more": {"1", "2", "3", "4", "5", "6", "7", "8", "9"},
	} {
		if got := Unwritten(addresses); got != want {
			t.Errorf("%v: got %q", addresses, got)
		}
	}
}
