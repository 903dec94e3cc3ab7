package catalog

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/big"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"cuelang.org/go/cue"
	"github.com/cockroachdb/apd/v3"
)

// What compiled.go knows of scalars: which a constraint accepts, and their JSON.

// predicate tells whether a scalar literal is accepted as it is.
type predicate func(x any) bool

func never(any) bool { return false }

// basicTypes are the constraints that CUE prints by their name.
var basicTypes = map[string]cue.Kind{
	"string": cue.StringKind, "bool": cue.BoolKind, "int": cue.IntKind, "float": cue.FloatKind,
	"number": cue.NumberKind, "_": cue.TopKind,
}

// kindOf returns the kind of a literal.
func kindOf(x any) cue.Kind {
	switch x.(type) {
	case nil:
		return cue.NullKind
	case bool:
		return cue.BoolKind
	case string:
		return cue.StringKind
	case *big.Int:
		return cue.IntKind
	case *apd.Decimal:
		return cue.FloatKind
	}
	return cue.BottomKind
}

// scalarOf compiles the parts of an evaluated constraint that a scalar can meet.
func scalarOf(v cue.Value) predicate {
	if kind := v.Kind(); v.Err() != nil || kind == cue.StructKind || kind == cue.ListKind {
		return never
	}
	if v.IsConcrete() {
		return constant(v)
	}
	op, args := v.Eval().Expr()
	switch op {
	case cue.AndOp, cue.OrOp:
		all := make([]predicate, len(args))
		for i, arg := range args {
			all[i] = scalarOf(arg)
		}
		if op == cue.AndOp {
			return func(x any) bool { return !slices.ContainsFunc(all, func(p predicate) bool { return !p(x) }) }
		}
		return func(x any) bool { return slices.ContainsFunc(all, func(p predicate) bool { return p(x) }) }
	case cue.NoOp:
		// The one alternative that a default leaves has a form of its own.
		if only, _ := args[0].Eval().Expr(); only != cue.NoOp {
			return scalarOf(args[0])
		}
		kinds := basicTypes[fmt.Sprint(args[0])]
		return func(x any) bool { return kindOf(x)&kinds != 0 }
	case cue.CallOp:
		return validator(args)
	}
	if len(args) != 1 {
		return never
	}
	if args[0].Kind() == cue.StringKind {
		return stringBound(op, args[0])
	}
	return numberBound(op, args[0])
}

// constant accepts what is written as CUE would write the value.
func constant(v cue.Value) predicate {
	switch v.Kind() {
	case cue.NullKind:
		return func(x any) bool { return x == nil }
	case cue.BoolKind:
		want, err := v.Bool()
		return func(x any) bool { return err == nil && x == want }
	case cue.StringKind:
		want, err := v.String()
		return func(x any) bool { return err == nil && x == want }
	case cue.IntKind:
		want, err := v.MarshalJSON()
		return func(x any) bool {
			n, is := x.(*big.Int)
			return err == nil && is && n.String() == string(want)
		}
	}
	return never
}

// stringBound compiles `=~"x"`, `!~"x"` and `!="x"`.
func stringBound(op cue.Op, arg cue.Value) predicate {
	text, err := arg.String()
	if err != nil {
		return never
	}
	if op == cue.NotEqualOp {
		return func(x any) bool { s, is := x.(string); return is && s != text }
	}
	pattern, err := regexp.Compile(text)
	if err != nil || op != cue.RegexMatchOp && op != cue.NotRegexMatchOp {
		return never
	}
	return func(x any) bool {
		s, is := x.(string)
		return is && pattern.MatchString(s) == (op == cue.RegexMatchOp)
	}
}

// numberBound compiles `>=1` and its like.
func numberBound(op cue.Op, arg cue.Value) predicate {
	var mantissa big.Int
	exponent, err := arg.MantExp(&mantissa)
	if err != nil {
		return never
	}
	bound := apd.NewWithBigInt(new(apd.BigInt).SetMathBigInt(&mantissa), int32(exponent))
	holds, known := map[cue.Op]func(int) bool{
		cue.LessThanOp:         func(c int) bool { return c < 0 },
		cue.LessThanEqualOp:    func(c int) bool { return c <= 0 },
		cue.GreaterThanOp:      func(c int) bool { return c > 0 },
		cue.GreaterThanEqualOp: func(c int) bool { return c >= 0 },
		cue.NotEqualOp:         func(c int) bool { return c != 0 },
	}[op]
	if !known {
		return never
	}
	return func(x any) bool {
		switch x := x.(type) {
		case *big.Int:
			return holds(apd.NewWithBigInt(new(apd.BigInt).SetMathBigInt(x), 0).Cmp(bound))
		case *apd.Decimal:
			return holds(x.Cmp(bound))
		}
		return false
	}
}

// validator compiles a call of a function that is a constraint: the function and
// its arguments.
func validator(call []cue.Value) predicate {
	if len(call) != 2 {
		return never
	}
	switch fmt.Sprint(call[0]) {
	case "strings.MinRunes":
		n, err := call[1].Int64()
		return func(x any) bool {
			s, is := x.(string)
			return err == nil && is && int64(utf8.RuneCountInString(s)) >= n
		}
	case "strings.MaxRunes":
		n, err := call[1].Int64()
		return func(x any) bool {
			s, is := x.(string)
			return err == nil && is && int64(utf8.RuneCountInString(s)) <= n
		}
	case "time.Format":
		layout, err := call[1].String()
		return func(x any) bool {
			s, is := x.(string)
			if err != nil || !is {
				return false
			}
			_, err := time.ParseInLocation(layout, s, time.UTC)
			return err == nil
		}
	}
	return never
}

// appendLiteral appends a scalar literal as JSON.
func appendLiteral(out []byte, x any) ([]byte, verdict) {
	switch x := x.(type) {
	case nil:
		return append(out, "null"...), accepted
	case bool:
		return strconv.AppendBool(out, x), accepted
	case string:
		return appendString(out, x)
	case *big.Int:
		return x.Append(out, 10), accepted
	case *apd.Decimal:
		if x.NumDigits() <= maxDigits {
			return x.Append(out, 'G'), accepted
		}
	}
	return out, unsure
}

// maxDigits is a number of digits up to which CUE does not round.
const maxDigits = 30

// appendString appends a text as JSON, as [sortFields] writes it.
func appendString(out []byte, s string) ([]byte, verdict) {
	odd := func(r rune) bool { return r < ' ' || r > '~' || r == '"' || r == '\\' }
	if !strings.ContainsFunc(s, odd) {
		return append(append(append(out, '"'), s...), '"'), accepted
	}
	var text bytes.Buffer
	enc := json.NewEncoder(&text)
	enc.SetEscapeHTML(false)
	if !utf8.ValidString(s) || enc.Encode(s) != nil {
		return out, unsure
	}
	return append(out, bytes.TrimSpace(text.Bytes())...), accepted
}
