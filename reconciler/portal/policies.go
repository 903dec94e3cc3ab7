package portal

import (
	"cmp"
	"net/http"
	"path"
	"strings"

	"github.com/pave-dev/pave/reconciler"
)

// policiesPage is the rules, and what they say now.
type policiesPage struct {
	Own        []ruleRow    `json:"organisation"`
	Builtin    []ruleRow    `json:"builtin"`
	Counts     []count      `json:"counts"`
	Findings   []fault      `json:"findings"`
	Pager      pager        `json:"pager"`
	Unfinished bool         `json:"unfinished"`
	Failed     string       `json:"failed,omitempty"`
	Held       []*requestIn `json:"held,omitempty"` // by the record
	Failures   []testRow    `json:"failedTests,omitempty"`
}

// ruleRow is a rule as the page shows it.
type ruleRow struct {
	ID          string `json:"id"`
	Title       string `json:"title,omitempty"`
	Description string `json:"description,omitempty"`
	Level       string `json:"level"`
	Severity    string `json:"severity"`
	Reason      string `json:"reason,omitempty"`
	At          spot   `json:"at"`
	Tests       int    `json:"tests"`
	TestsAt     spot   `json:"testsAt,omitzero"`
	Failed      int    `json:"failedTests,omitempty"`
	Says        int    `json:"findings"`
}

// testRow is a test that failed.
type testRow struct {
	Name    string `json:"name"`
	Message string `json:"message"`
	At      spot   `json:"at"`
}

func policies(v *view, r *http.Request) (any, error) {
	v.title, v.here = "Policies", "/policies"
	p := &policiesPage{Own: []ruleRow{}, Builtin: []ruleRow{}, Findings: []fault{}}
	for _, row := range v.waiting {
		if row.State.Word == reconciler.ReasonDenied && len(p.Held) < mostRows {
			p.Held = append(p.Held, v.rows([]*requestRow{row})...)
		}
	}
	verdict, known, err := v.verdict(r.Context(), judging)
	switch {
	case err != nil && r.Context().Err() != nil:
		return nil, err
	case err != nil:
		p.Failed = err.Error()
		return p, nil
	case !known:
		p.Unfinished = v.judgements != nil
		return p, nil
	}
	says, levels := map[string]int{}, map[reconciler.Level]int{}
	var findings []reconciler.Violation
	for _, x := range verdict.Violations {
		if x.Rule != "" {
			findings = append(findings, x)
			says[x.Rule]++
			levels[x.Level]++
		}
	}
	p.Counts = []count{
		counted(levels[reconciler.Deny], "denial", "", ""), counted(levels[reconciler.Approve], "approval", " asked for", ""),
		counted(levels[reconciler.Warn], "warning", "", ""), counted(levels[reconciler.Preapprove], "pre-approval", "", ""),
	}
	for _, rule := range verdict.Rules {
		row := v.ruleRow(rule, verdict.Tests)
		row.Says = says[rule.ID]
		if rule.Builtin {
			p.Builtin = append(p.Builtin, row)
		} else {
			p.Own = append(p.Own, row)
		}
	}
	for _, t := range verdict.Tests {
		if !t.Builtin && !t.Passed && len(p.Failures) < mostRows {
			p.Failures = append(p.Failures, testRow{cmp.Or(t.Name, "the tests"), t.Message, v.at(t.Position)})
		}
	}
	for _, x := range paged(&p.Pager, v, r, findings) {
		p.Findings = append(p.Findings, v.fault(x))
	}
	return p, nil
}

// ruleRow shows a rule with its tests: those of the file beside its own.
func (v *view) ruleRow(rule Rule, tests []RuleTest) ruleRow {
	row := ruleRow{ID: rule.ID, Title: rule.Title, Description: strings.TrimSpace(rule.Description), Level: rule.Level, Severity: rule.Severity, Reason: rule.Reason, At: v.at(rule.Position)}
	if rule.Builtin {
		row.At.Href = "" // it is in the binary
	}
	file := strings.TrimSuffix(rule.Position.File, path.Ext(rule.Position.File)) + "_test" + path.Ext(rule.Position.File)
	for _, t := range tests {
		if t.Builtin != rule.Builtin || t.Position.File != file {
			continue
		}
		if row.Tests++; row.Tests == 1 && !t.Builtin {
			row.TestsAt = v.at(t.Position)
		}
		if !t.Passed {
			row.Failed++
		}
	}
	return row
}
