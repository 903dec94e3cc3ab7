package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/pave-dev/pave/reconciler"
)

// printJSON writes a stable, indented form.
func printJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}

// printable escapes what would act on a terminal: control characters and
// those that turn the direction of text.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t':
			return r
		case r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0, r >= 0x202a && r <= 0x202e, r >= 0x2066 && r <= 0x2069, r == 0x200e || r == 0x200f:
			return '?'
		}
		return r
	}, s)
}

// printViolations writes one line a violation and its hint below.
func printViolations(w io.Writer, vs []reconciler.Violation) {
	for _, v := range vs {
		fmt.Fprintln(w, printable(v.String()))
		if v.Hint != "" {
			fmt.Fprintf(w, "    %s\n", strings.ReplaceAll(printable(v.Hint), "\n", "\n    "))
		}
	}
}

// severity names a level as GitHub and SARIF do, whose words for what asks for
// nothing differ.
func severity(l reconciler.Level, nothing string) string {
	switch {
	case l.Holds():
		return "error"
	case l == reconciler.Warn:
		return "warning"
	}
	return nothing
}

// printGitHub writes workflow commands, which a GitHub action shows at the line.
func printGitHub(w io.Writer, vs []reconciler.Violation) {
	data := strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A")
	property := strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A", ":", "%3A", ",", "%2C")
	for _, v := range vs {
		level := severity(v.Level, "notice")
		at := v.Position
		v.Position = reconciler.Position{}
		text := v.String()
		if v.Hint != "" {
			text += "\n" + v.Hint
		}
		fmt.Fprintf(w, "::%s file=%s,line=%d,col=%d::%s\n", level, property.Replace(at.File), max(at.Line, 1), max(at.Column, 1), data.Replace(printable(text)))
	}
}

// sarif is the part of SARIF 2.1.0 that code scanning reads.
// https://docs.oasis-open.org/sarif/sarif/v2.1.0/sarif-v2.1.0.html
func sarif(vs []reconciler.Violation) any {
	type object = map[string]any
	results := []any{}
	rules := []any{}
	seen := map[string]bool{}
	for _, v := range vs {
		id := v.Rule
		if id == "" {
			id = "model"
		}
		if !seen[id] {
			seen[id] = true
			rules = append(rules, object{"id": id})
		}
		level := severity(v.Level, "note")
		text := v
		text.Position = reconciler.Position{}
		results = append(results, object{
			"ruleId": id, "level": level, "message": object{"text": text.String()},
			"locations": []any{object{"physicalLocation": object{
				"artifactLocation": object{"uri": v.Position.File},
				"region":           object{"startLine": max(v.Position.Line, 1), "startColumn": max(v.Position.Column, 1)},
			}}},
		})
	}
	return object{
		"$schema": "https://json.schemastore.org/sarif-2.1.0.json", "version": "2.1.0",
		"runs": []any{object{"tool": object{"driver": object{"name": "pave", "rules": rules}}, "results": results}},
	}
}
