package reconciler

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"unsafe"
)

// What a shelf holds is what was put there, whatever becomes of that or of its
// neighbours.
func TestShelf(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	var s Shelf[int]
	var put, held [][]int
	for n := range 3000 {
		row := make([]int, random.IntN(8), 16)
		if n%500 == 499 {
			row = make([]int, 2*shelfRow/8)
		}
		for i := range row {
			row[i] = random.Int()
		}
		put, held = append(put, slices.Clone(row)), append(held, s.Hold(row))
		clear(row)
	}
	for i := range held {
		if cap(held[i]) != len(held[i]) {
			t.Fatalf("%d values have room for %d", len(held[i]), cap(held[i]))
		}
		_ = append(held[i], -1)
	}
	for i := range held {
		if !slices.Equal(held[i], put[i]) {
			t.Fatalf("row %d is %v, put was %v", i, held[i], put[i])
		}
	}
	for _, s := range []Shelf[int]{{}, s} {
		if s.Hold(nil) != nil || s.Hold([]int{}) == nil {
			t.Error("nothing became an empty row, or the reverse")
		}
	}
	if one := s.HoldOne(7); *one != 7 {
		t.Errorf("got %d", *one)
	}
}

// Few values take no more room than they need, and many little more.
func TestShelfOfFew(t *testing.T) {
	var s Shelf[int]
	for i := range 10 * shelfRow {
		s.HoldOne(i)
		if len(s.free) > i/4 || len(s.free)*8 > shelfRow {
			t.Fatalf("there is room for %d more values than the %d that are held", len(s.free), i+1)
		}
	}
	if cap(s.free) == 0 && len(s.Hold(make([]int, 100))) != 100 {
		t.Error("values were lost")
	}
}

func TestTexts(t *testing.T) {
	var texts Texts
	var said, held []string
	for n := range 20000 {
		text := fmt.Sprintf("%d%s", n%7000, strings.Repeat("x", n%50))
		if n%3000 == 0 {
			text = strings.Repeat(text, shelfRow)
		}
		said = append(said, strings.Clone(text))
		if n%2 == 0 {
			texts.Hold(&text)
		} else {
			texts.Share(&text)
		}
		held = append(held, text)
	}
	for i := range held {
		if held[i] != said[i] {
			t.Fatalf("text %d is %.80q, said was %.80q", i, held[i], said[i])
		}
	}
	first, again, apart := strings.Clone("checkout"), strings.Clone("checkout"), strings.Clone("checkout")
	texts.Share(&first, &again)
	texts.Hold(&apart)
	if !sameText(first, again) || sameText(first, apart) {
		t.Error("what says the same is held twice, or what was to be held alone is not")
	}
}

// sameText tells whether two strings are one in memory.
func sameText(a, b string) bool { return unsafe.StringData(a) == unsafe.StringData(b) }

// What is held says what it said, in memory of its own.
func TestShelves(t *testing.T) {
	var s Shelves
	for _, whole := range []any{&UnitStatus{}, &ServiceStatus{}, &Request{}, &Service{}} {
		filled := reflect.ValueOf(whole).Elem()
		fill(filled, 1)
		var held any
		switch of := whole.(type) {
		case *UnitStatus:
			held = s.unit(of, nil)
		case *ServiceStatus:
			held = s.service(of)
		case *Request:
			held = s.Request(*of)
		case *Service:
			held = s.Service(*of)
		}
		if !reflect.DeepEqual(held, whole) {
			t.Errorf("%T changed:\n%+v\n%+v", whole, whole, held)
		}
	}
	u := &UnitStatus{Conditions: Conditions{{Type: Ready}}, Resources: []string{"a"}, Outputs: FieldsOf(map[string]json.RawMessage{"a": json.RawMessage("1")})}
	known := json.RawMessage(`{"name":"a"}`)
	u.Document = slices.Clone(known)
	held, other := s.unit(u, known), s.unit(u, nil)
	if &held.Document[0] != &known[0] || string(other.Document) != string(known) {
		t.Errorf("the document that is known is held again, or another was held: %s", other.Document)
	}
	u.Conditions[0].Type, u.Resources[0], u.Outputs[0].Value[0] = "", "", '2'
	if !held.Conditions.has(Ready) || held.Resources[0] != "a" || string(held.Outputs.Of("a")) != "1" {
		t.Errorf("it changed with what it was copied of: %+v", held)
	}
}

func (cs Conditions) has(kind string) bool { _, has := cs.Get(kind); return has }

// fill sets everything that a value consists of to something.
func fill(v reflect.Value, n int) {
	switch v.Kind() {
	case reflect.String:
		v.SetString(fmt.Sprint("text ", v.Type(), n))
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int64:
		v.SetInt(int64(n))
	case reflect.Uint8, reflect.Uint64:
		v.SetUint(uint64(n))
	case reflect.Float64:
		v.SetFloat(float64(n))
	case reflect.Struct:
		for i := range v.NumField() {
			fill(v.Field(i), n+i)
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 4))
		fill(v.Index(0), n)
		fill(v.Index(1), n+1)
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem(), n)
	case reflect.Map:
		key, value := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
		fill(key, n)
		fill(value, n)
		v.Set(reflect.MakeMap(v.Type()))
		v.SetMapIndex(key, value)
	default:
		panic(fmt.Sprint("nobody filled a ", v.Type()))
	}
}
