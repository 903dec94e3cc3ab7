package policies_test

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/pave-dev/pave/reconciler"
	"github.com/pave-dev/pave/reconciler/policy"
)

func readme(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// blocks returns the code of the language, in order.
func blocks(text, language string) []string {
	var found []string
	for _, match := range regexp.MustCompile("(?s)\n```"+language+"\n(.*?)```\n").FindAllStringSubmatch(text, -1) {
		found = append(found, match[1])
	}
	return found
}

func TestReadmeListsTheRules(t *testing.T) {
	engine, violations := policy.Compile(context.Background(), policy.Sources{})
	if engine == nil {
		t.Fatal(violations)
	}
	var rules []string
	for _, rule := range engine.Rules() {
		rules = append(rules, rule.ID+" "+rule.Severity)
	}
	var listed []string
	for _, row := range regexp.MustCompile("(?m)^\\| `([a-z-]+)` \\| (deny|approve|warn) \\| [^|]+ \\| [^|]+ \\|$").FindAllStringSubmatch(readme(t), -1) {
		listed = append(listed, row[1]+" "+row[2])
	}
	slices.Sort(rules)
	slices.Sort(listed)
	if !slices.Equal(rules, listed) {
		t.Errorf("README.md lists\n\t%s\nbut the rules are\n\t%s", strings.Join(listed, "\n\t"), strings.Join(rules, "\n\t"))
	}
}

func TestReadmeExample(t *testing.T) {
	code := blocks(readme(t), "rego")
	if len(code) != 2 {
		t.Fatalf("%d blocks of Rego", len(code))
	}
	engine, violations := policy.Compile(context.Background(), policy.Sources{Organisation: map[string]string{
		"policies/sizes.rego": code[0], "policies/sizes_test.rego": code[1],
	}})
	if engine == nil {
		t.Fatal(violations)
	}
	results := engine.Test(context.Background())
	if len(results) != 5 {
		t.Errorf("%d tests ran", len(results))
	}
	for _, result := range results {
		if !result.Passed {
			t.Errorf("%+v", result)
		}
	}
}

func TestReadmeInput(t *testing.T) {
	text := readme(t)
	var subject reconciler.Subject
	decoder := json.NewDecoder(bytes.NewReader([]byte(blocks(text, "json")[0])))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&subject); err != nil {
		t.Fatal(err)
	}
	engine, _ := policy.Compile(context.Background(), policy.Sources{})
	if violations, err := engine.Judge(context.Background(), subject); err != nil || len(violations) > 0 {
		t.Errorf("the example is judged: %v, %v", violations, err)
	}
	for _, field := range fields("input", reflect.TypeFor[reconciler.Subject]()) {
		if !strings.Contains(text, "\n| `"+field+"` |") {
			t.Errorf("%s is not described", field)
		}
	}
}

// fields returns the paths of all fields as they stand in JSON.
func fields(prefix string, of reflect.Type) []string {
	if of.Kind() == reflect.Pointer {
		of = of.Elem()
	}
	if of.Kind() != reflect.Struct || of.PkgPath() == "time" {
		return nil
	}
	var paths []string
	for i := range of.NumField() {
		name, _, _ := strings.Cut(of.Field(i).Tag.Get("json"), ",")
		path := prefix + "." + name
		paths = append(append(paths, path), fields(path, of.Field(i).Type)...)
	}
	return paths
}
