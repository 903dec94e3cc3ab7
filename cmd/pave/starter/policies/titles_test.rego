package ours.titles_test

import data.ours.titles

test_small_letter if {
	count(titles.warn) == 1 with input as {"kind": "service", "document": {"title": "welcome"}}
}

test_capital_letter if {
	count(titles.warn) == 0 with input as {"kind": "service", "document": {"title": "Welcome"}}
}
