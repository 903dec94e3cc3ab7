package portal_test

import (
	"bytes"
	"cmp"
	"context"
	"image"
	"image/color"
	"image/png"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/chromedp/chromedp"
)

// pictures are those of the README: what is seen of a page at first.
var pictures = []struct {
	name, path string
	then       func(tab context.Context) error
}{
	{"service", "/services/checkout", func(context.Context) error { return nil }},
	{"graph", "/graph?service=checkout", func(context.Context) error { return nil }},
	{"form", "/blueprints/tls-cert/new", func(tab context.Context) error {
		return chromedp.Do(tab,
			chromedp.SetValue("#name", "search-cert"), chromedp.SetValue("#service", "search"), chromedp.SetValue("#environment", `"production"`),
			chromedp.SetValue(`[id="input.hostname"]`, "search.acme.example"), chromedp.Click("button[value=check]"), chromedp.WaitVisible("#checked"))
	}},
}

// makePictures makes the pictures of the README: copy them to docs/ when the portal
// looks otherwise. Whoever looks has signed in.
func (s *stand) makePictures(t *testing.T, browser context.Context, folder string) {
	must(t, os.MkdirAll(folder, 0o755))
	for _, p := range pictures {
		for _, as := range ways[:2] {
			as.width, as.height = 1200, 860
			_, err := look(browser, s.address, p.path, as, p.then, func(tab context.Context) error {
				picture, err := chromedp.Run(tab, chromedp.CaptureScreenshot())
				if err != nil {
					return err
				}
				picture, err = small(picture)
				if err != nil {
					return err
				}
				return os.WriteFile(filepath.Join(folder, "portal-"+p.name+"-"+as.name+".png"), picture, 0o644)
			})
			must(t, err)
		}
	}
}

// small makes a picture of the 256 colors that most of it has, which takes a third of
// the space.
func small(picture []byte) ([]byte, error) {
	from, err := png.Decode(bytes.NewReader(picture))
	if err != nil {
		return nil, err
	}
	bounds := from.Bounds()
	counts := map[color.RGBA]int{}
	at := func(x, y int) color.RGBA { return color.RGBAModel.Convert(from.At(x, y)).(color.RGBA) }
	for y := bounds.Min.Y; y < bounds.Max.Y; y++ {
		for x := bounds.Min.X; x < bounds.Max.X; x++ {
			counts[at(x, y)]++
		}
	}
	colors := slices.SortedFunc(maps.Keys(counts), func(a, b color.RGBA) int {
		return cmp.Or(cmp.Compare(counts[b], counts[a]), cmp.Compare(a.R, b.R), cmp.Compare(a.G, b.G), cmp.Compare(a.B, b.B))
	})
	var palette color.Palette
	for _, c := range colors[:min(256, len(colors))] {
		palette = append(palette, c)
	}
	nearest := map[color.RGBA]uint8{}
	for _, c := range colors {
		nearest[c] = uint8(palette.Index(c))
	}
	to := image.NewPaletted(bounds, palette)
	for y := bounds.Min.Y; y < bounds.Max.Y; y++ {
		for x := bounds.Min.X; x < bounds.Max.X; x++ {
			to.SetColorIndex(x, y, nearest[at(x, y)])
		}
	}
	var b bytes.Buffer
	err = (&png.Encoder{CompressionLevel: png.BestCompression}).Encode(&b, to)
	return b.Bytes(), err
}
