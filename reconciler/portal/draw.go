package portal

import (
	"fmt"
	"slices"
	"strconv"
)

// drawing is a picture of a graph in layers: whatever is left of another and leads
// to it needs it. The style sheet paints it.
type drawing struct {
	Width, Height int
	Boxes         []box
	Lines         []line
}

// box is a vertex with its place.
type box struct {
	vertex
	Class              string
	X, Y, W, H         int
	TextX, NameY, SubY int
	Label, Sub         string // as much of both as there is room for
}

// line leads from a box to one further right.
type line struct {
	Class string
	Path  string
}

// The measures of a drawing, and how much of a graph it shows: the table has the
// rest.
const (
	boxWidth, boxHeight  = 220, 46
	gapWidth, gapHeight  = 64, 12
	drawnColumns         = 3 // of impact
	drawnRows            = 8 // of one column
	drawnLabel, drawnSub = 23, 27
)

// layers is a drawing in the making: columns from left to right.
type layers struct {
	columns [][]vertex
	at      map[thing][2]int // column and row
	more    []int            // by column: what there was no room for
	edges   []edge
}

type edge struct {
	from, to thing
	class    string
}

// draw makes the picture of a subject: what breaks without it left of it, the
// farthest first, what it is made of and needs right of it.
func (v *view) draw(subject thing, own []string, needs []need, broken []reached) *drawing {
	far := 0
	for _, b := range broken {
		far = max(far, min(b.distance, drawnColumns))
	}
	l := &layers{columns: make([][]vertex, far+3), at: map[thing][2]int{}, more: make([]int, far+3)}
	l.put(far, subject, v.vertex)
	for _, b := range broken {
		if b.distance <= drawnColumns {
			l.put(far-b.distance, b.thing, v.vertex)
			l.edges = append(l.edges, edge{b.thing, b.via, "needs"})
		}
	}
	parts := far + 1
	if subject.kind == "service" {
		parts++
		for _, name := range own {
			t := thing{"request", name}
			l.put(far+1, t, v.vertex)
			l.edges = append(l.edges, edge{subject, t, "has"})
		}
	}
	for _, n := range needs {
		column := far + 1
		if n.by != subject {
			column = parts
		}
		l.put(column, n.to, v.vertex)
		l.edges = append(l.edges, edge{n.by, n.to, "needs"})
	}
	for _, name := range own {
		unit := v.Record.Units[name]
		if unit == nil {
			continue
		}
		for _, address := range unit.Resources {
			t := thing{"resource", name + " " + address}
			l.put(parts, t, func(thing) vertex { return vertex{Kind: "resource", Name: address, About: unit.IDs.Of(address)} })
			l.edges = append(l.edges, edge{thing{"request", name}, t, "has"})
		}
	}
	return l.drawing()
}

// put adds a vertex at the end of a column, where it is not there yet and there
// is room.
func (l *layers) put(column int, t thing, show func(thing) vertex) {
	if _, there := l.at[t]; there {
		return
	}
	if len(l.columns[column]) == drawnRows {
		l.more[column]++
		return
	}
	l.at[t] = [2]int{column, len(l.columns[column])}
	l.columns[column] = append(l.columns[column], show(t))
}

// drawing gives everything its place.
func (l *layers) drawing() *drawing {
	for i, n := range l.more {
		if n > 0 {
			l.columns[i] = append(l.columns[i], vertex{Kind: "more", Name: fmt.Sprintf("and %d more", n)})
		}
	}
	for len(l.columns) > 1 && len(l.columns[len(l.columns)-1]) == 0 {
		l.columns = l.columns[:len(l.columns)-1]
	}
	rows := 0
	for _, c := range l.columns {
		rows = max(rows, len(c))
	}
	d := &drawing{Width: len(l.columns)*(boxWidth+gapWidth) - gapWidth + 2, Height: rows*(boxHeight+gapHeight) - gapHeight + 2}
	corner := func(column, row int) (x, y int) {
		used := len(l.columns[column])*(boxHeight+gapHeight) - gapHeight
		return 1 + column*(boxWidth+gapWidth), (d.Height-used)/2 + row*(boxHeight+gapHeight)
	}
	for i, c := range l.columns {
		for j, n := range c {
			x, y := corner(i, j)
			d.Boxes = append(d.Boxes, newBox(n, x, y))
		}
	}
	for _, e := range l.edges {
		from, drawn := l.at[e.from]
		to, both := l.at[e.to]
		if !drawn || !both || to[0] <= from[0] {
			continue
		}
		x1, y1 := corner(from[0], from[1])
		x2, y2 := corner(to[0], to[1])
		x1, y1, y2 = x1+boxWidth, y1+boxHeight/2, y2+boxHeight/2
		path := fmt.Sprintf("M%d %dC%d %d %d %d %d %d", x1, y1, x1+gapWidth/2, y1, x2-gapWidth/2, y2, x2, y2)
		if l := (line{e.class, path}); !slices.Contains(d.Lines, l) {
			d.Lines = append(d.Lines, l)
		}
	}
	return d
}

func newBox(n vertex, x, y int) box {
	sub := n.About
	if n.Tier > 0 {
		sub = "Tier " + strconv.Itoa(n.Tier) + " · " + sub
	}
	b := box{vertex: n, Class: n.Kind, X: x, Y: y, W: boxWidth, H: boxHeight, TextX: x + 12, NameY: y + 20, SubY: y + 36, Label: cutTo(visible(n.Name), drawnLabel), Sub: cutTo(visible(sub), drawnSub)}
	if n.Tone == "bad" || n.Tone == "wait" {
		b.Class += " " + n.Tone
	}
	if b.Sub == "" {
		b.NameY = y + boxHeight/2 + 5
	}
	return b
}
