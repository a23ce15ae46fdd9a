//go:build browser

package heatmap_test

import (
	"context"
	_ "embed"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"

	"github.com/tidelay/tidelay/pkg/plugin/measured"
)

// look looks at a page in the browser.
//
//go:embed look.js
var look string

// seen is what look sees.
type seen struct {
	Overflow int      // how far the page is wider than the window, in px
	Contrast float64  // the least of all texts
	Faintest string   // whose it is
	Clipped  []string // texts that are wider than their cells
	Ramp     []float64
	Marked   int // cells that are out of tolerance by mark, weight and frame
	Unscoped int // headings without a scope
	Stuck    bool
	Page     string // the colour of the page
	Kept     bool   // whether colours are printed
}

// browser starts Chromium. A machine without it fails the test: hack/deps.sh installs it.
func browser(t *testing.T) context.Context {
	t.Helper()
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.DisableGPU)
	if os.Geteuid() == 0 {
		options = append(options, chromedp.NoSandbox) // it has none for root
	}
	ctx, cancel := chromedp.NewExecAllocator(context.Background(), options...)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx)
	t.Cleanup(cancel)
	if err := chromedp.Do(ctx, chromedp.Navigate("about:blank")); err != nil {
		t.Fatalf("start Chromium (hack/deps.sh browser installs it): %v", err)
	}
	return ctx
}

// tab opens a page in a new tab, which must fetch nothing else.
func tab(ctx context.Context, t *testing.T, content string) context.Context {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/" {
			t.Errorf("it asked the server for %s", r.URL)
		}
		_, _ = fmt.Fprint(w, content)
	}))
	t.Cleanup(server.Close)
	ctx, cancel := chromedp.NewContext(ctx)
	t.Cleanup(cancel)
	if err := chromedp.Do(ctx, chromedp.Navigate("about:blank")); err != nil { // makes the tab
		t.Fatal(err)
	}
	ctx, cancel = context.WithTimeout(ctx, 2*time.Minute)
	t.Cleanup(cancel)
	var requests atomic.Int32
	err := chromedp.Listen(ctx, func(event any) {
		sent, is := event.(*network.EventRequestWillBeSent)
		if is && !strings.HasPrefix(sent.Request.URL, "data:") && requests.Add(1) > 1 {
			t.Errorf("it fetches %s", sent.Request.URL)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := chromedp.Do(ctx, chromedp.Navigate(server.URL)); err != nil {
		t.Fatal(err)
	}
	if requests.Load() == 0 {
		t.Error("requests are not seen")
	}
	return ctx
}

// see looks at the page of a tab as a medium shows it, in a window of some width.
func see(ctx context.Context, t *testing.T, medium, scheme string, width int64) seen {
	t.Helper()
	emulate(ctx, t, emulation.SetEmulatedMediaParams{Media: medium, Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}})
	if err := chromedp.Do(ctx, chromedp.EmulateViewport(width, 900)); err != nil {
		t.Fatal(err)
	}
	got, err := chromedp.Run(ctx, chromedp.Evaluate[seen](look))
	if err != nil {
		t.Fatal(err)
	}
	if os.Getenv(folder) != "" {
		shot, err := chromedp.Run(ctx, chromedp.FullScreenshot(100))
		if err != nil {
			t.Fatal(err)
		}
		keep(t, fmt.Sprintf("%s-%s-%d.png", medium, scheme, width), shot)
	}
	return got
}

func emulate(ctx context.Context, t *testing.T, p emulation.SetEmulatedMediaParams) {
	t.Helper()
	if _, err := chromedp.Call(ctx, emulation.SetEmulatedMedia, p); err != nil {
		t.Fatal(err)
	}
}

// Heat maps of 3 to 60 pods, and of groups, fit into windows, can be read in dark and light,
// and have marks that are not colours alone.
func TestHeatmaps(t *testing.T) {
	ctx := browser(t)
	for _, test := range []struct {
		pods int
		by   measured.By
	}{{3, measured.ByPod}, {8, measured.ByPod}, {20, measured.ByPod}, {60, measured.ByPod}, {20, measured.ByComponent}, {60, measured.ByZone}} {
		t.Run(fmt.Sprintf("%d by %s", test.pods, test.by), func(t *testing.T) {
			m := example(test.pods)
			tab := tab(ctx, t, render(t, m, test.by))
			for _, scheme := range []string{"light", "dark"} {
				for _, width := range []int64{1920, 1280, 768, 390} {
					got := see(tab, t, "screen", scheme, width)
					where := fmt.Sprintf("%s, %d px", scheme, width)
					if got.Overflow > 0 {
						t.Errorf("%s: the page is %d px too wide", where, got.Overflow)
					}
					got.check(t, where)
					if out := len(m.Out()); test.by == measured.ByPod && got.Marked != out || got.Marked == 0 {
						t.Errorf("%s: %d cells are marked, want %d", where, got.Marked, out)
					}
					if !got.Stuck {
						t.Errorf("%s: the headings scroll away", where)
					}
				}
			}
			printed(tab, t, test.pods, test.by)
		})
	}
}

// check checks what holds on screen and on paper.
func (s *seen) check(t *testing.T, where string) {
	t.Helper()
	if s.Contrast < 4.5 {
		t.Errorf("%s: contrast %.2f of %s", where, s.Contrast, s.Faintest)
	}
	if len(s.Clipped) > 0 {
		t.Errorf("%s: wider than their cells: %q", where, s.Clipped)
	}
	if s.Unscoped > 0 {
		t.Errorf("%s: %d headings without a scope", where, s.Unscoped)
	}
	isRising := s.Ramp[1] > s.Ramp[0]
	for i := 1; i < len(s.Ramp); i++ {
		if d := s.Ramp[i] - s.Ramp[i-1]; d == 0 || d > 0 != isRising {
			t.Errorf("%s: the ramp's luminance is %v: want it to rise or fall all the way, so that it needs no hues", where, s.Ramp)
			break
		}
	}
}

var (
	pages    = regexp.MustCompile(`/Type\s*/Page\b`)
	mediaBox = regexp.MustCompile(`/MediaBox\s*\[0 0 ([0-9.]+) ([0-9.]+)\]`)
)

// printed prints the page of a tab: light whatever the screen is, with its colours, on few
// pages.
func printed(ctx context.Context, t *testing.T, pods int, by measured.By) {
	t.Helper()
	paper, width, most := "842", int64(1047), 3 // A4 less its margins, at 96 px an inch
	if pods > 24 && by == measured.ByPod {
		paper, width, most = "1191", 1512, 4 // A3
	}
	got := see(ctx, t, "print", "dark", width)
	got.check(t, "printed")
	if got.Page != "rgb(255, 255, 255)" || !got.Kept || got.Overflow > 0 {
		t.Errorf("printed on %s, colours kept: %t, %d px too wide", got.Page, got.Kept, got.Overflow)
	}
	emulate(ctx, t, emulation.SetEmulatedMediaParams{})
	pdf, err := chromedp.Run(ctx, chromedp.PrintToPDF(chromedp.PDFPreferCSSPageSize()))
	if err != nil {
		t.Fatal(err)
	}
	keep(t, "printed.pdf", pdf)
	count, box := len(pages.FindAll(pdf, -1)), mediaBox.FindStringSubmatch(string(pdf))
	if count < 1 || count > most || box == nil || !strings.HasPrefix(box[1], paper[:2]) || len(box[1]) < len(paper) {
		t.Errorf("%d pages of %v, want at most %d that are %s points wide", count, box, most, paper)
	}
}
