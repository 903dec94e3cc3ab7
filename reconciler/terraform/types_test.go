package terraform

import "testing"

func TestAccepts(t *testing.T) {
	tests := []struct {
		variable, input string
		want            bool
	}{
		{"string", "string", true},
		{"number", "number", true},
		{"bool", "bool", true},
		{"string", "number", false},
		{"number", "string", false},
		{"bool", "string", false},
		{"any", "string", false},
		{"any", "any", true},
		{"string", "any", true},
		{"list(string)", "any", true},
		{"list(string)", "list(string)", true},
		{"set(string)", "list(string)", true},
		{"tuple([string,string])", "list(string)", true},
		{"tuple([string,number])", "list(string)", false},
		{"list(number)", "list(string)", false},
		{"map(string)", "list(string)", false},
		{"list(list(string))", "list(list(string))", true},
		{"map(string)", "map(string)", true},
		{"map(number)", "map(string)", false},
		{"object({a=string})", "map(string)", false},
		{"map(string)", "object({a=string})", false},
		{"object({a=string})", "object({a=string})", true},
		{"object({a=set(string)})", "object({a=list(string)})", true},
		{"object({a=string,b=string})", "object({a=string})", false},
		{"object({a=string})", "object({a=string,b=string})", false},
		{"object({a=string,c=string})", "object({a=string,b=string})", false},
		{"object({a=optional(string)})", "object({a=optional(string)})", true},
		{"object({a=string})", "object({a=optional(string)})", false},
		{"object({a=optional(string)})", "object({a=string})", false},
	}
	for _, test := range tests {
		variable, err := parseType(test.variable)
		if err != nil {
			t.Fatal(err)
		}
		input, err := parseType(test.input)
		if err != nil {
			t.Fatal(err)
		}
		if got := accepts(variable, input); got != test.want {
			t.Errorf("variable %s accepts input %s: %v, want %v", test.variable, test.input, got, test.want)
		}
		if got := typeText(variable); got != test.variable {
			t.Errorf("type %s is written as %s", test.variable, got)
		}
	}
}

func TestParseTypeRefuses(t *testing.T) {
	for text, want := range map[string]string{
		"":           `read type "": :1,1-1: Missing expression; Expected the start of an expression, but found the end of the file.`,
		"list":       `read type "list": :1,1-5: Invalid type specification; The list type constructor requires one argument specifying the element type.`,
		"${x}":       `read type "${x}": :1,1-2: Invalid character; This character is not used within the language., and 1 other diagnostic(s)`,
		"file(\"\")": `read type "file(\"\")": :1,1-9: Invalid type specification; Keyword "file" is not a valid type constructor.`,
	} {
		if _, err := parseType(text); err == nil || err.Error() != want {
			t.Errorf("parseType(%q): got %v, want %s", text, err, want)
		}
	}
}

func TestKeepsOwnership(t *testing.T) {
	for text, want := range map[string]bool{
		"any": true,
		"object({environment=string,owner=string,request=string,service=string,stage=string,tags=map(string)})":                       true,
		"object({environment=any,owner=any,request=any,service=any,stage=any,tags=any})":                                              true,
		"object({environment=string,owner=string,request=string,service=string,stage=string,tags=map(string),more=optional(string)})": true,
		"object({environment=string,owner=string,request=string,service=string,stage=string,tags=map(string),more=string})":           false,
		"object({environment=string,owner=string,request=string,service=string,stage=string})":                                        false,
		"object({environment=string,owner=string,request=number,service=string,stage=string,tags=map(string)})":                       false,
		"object({environment=string,owner=string,request=string,service=string,stage=string,tags=object({pave_request=string})})":     false,
		"map(string)": false,
		"string":      false,
	} {
		ty, err := parseType(text)
		if err != nil {
			t.Fatal(err)
		}
		if got := keepsOwnership(ty); got != want {
			t.Errorf("%s keeps the ownership: %v, want %v", text, got, want)
		}
	}
}
