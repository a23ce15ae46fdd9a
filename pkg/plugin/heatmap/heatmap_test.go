package heatmap_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tidelay/tidelay/pkg/apis/v1alpha1"
	"github.com/tidelay/tidelay/pkg/plugin/heatmap"
	"github.com/tidelay/tidelay/pkg/plugin/measured"
	"github.com/tidelay/tidelay/pkg/plugin/measured/measuredtest"
)

// example is a TidbCluster of so many pods, at least 3, with a topology, a partition and a slow
// pair, of which some pairs are out of tolerance and one pod has no agent.
func example(pods int) *measured.Matrix {
	c := measuredtest.Cluster(pods)
	measuredtest.Topology(c, "1ms", "20ms")
	measuredtest.Fault(c, "cut", "partition", v1alpha1.NetworkFaultSpec{From: []v1alpha1.Selector{"pd(0)"}, To: []v1alpha1.Selector{"pd(1)"}, Partition: true})
	if pods > 3 {
		measuredtest.Fault(c, "slow", "+250ms ±10ms RTT", v1alpha1.NetworkFaultSpec{From: []v1alpha1.Selector{"pd(2)"}, To: []v1alpha1.Selector{"tidb(0)"}, RTT: "250ms", Jitter: "10ms"})
		c.Pods[pods-1].Facts.Agent = false
	}
	m := measured.Of(c, measuredtest.Now())
	i := 0
	measuredtest.Measure(m, func(p *measured.Pair) time.Duration {
		i++
		switch rtt := measuredtest.AsAsked(p); {
		case i%37 == 5 || i%37 == 6: // twice, or it is not believed
			return rtt + time.Duration(i%90+5)*time.Millisecond
		case i%101 == 50 || i%101 == 51 || rtt == 0:
			return 0
		default:
			return rtt + time.Duration(i*7919%400)*time.Microsecond
		}
	})
	return m
}

// folder is the variable that names a folder to keep heat maps in, for people to look at.
const folder = "TIDELAY_HEATMAPS"

func keep(t *testing.T, name string, content []byte) {
	t.Helper()
	to := os.Getenv(folder)
	if to == "" {
		return
	}
	name = strings.NewReplacer("/", "-", " ", "-").Replace(t.Name() + "-" + name)
	if err := os.WriteFile(filepath.Join(to, name), content, 0o600); err != nil {
		t.Fatal(err)
	}
}

func render(t *testing.T, m *measured.Matrix, by measured.By) string {
	t.Helper()
	var b bytes.Buffer
	if err := heatmap.Write(&b, m.By(by)); err != nil {
		t.Fatal(err)
	}
	keep(t, string(by)+".html", b.Bytes())
	return b.String()
}

// What names a report needs is there, and nothing that could be fetched or run.
func TestWrite(t *testing.T) {
	page := render(t, example(8), measured.ByPod)
	for _, want := range []string{
		"<title>Round trips of TidbCluster db/basic</title>", "2030-01-31 12:00 UTC", "NetworkFault cut: partition from pd(0) to pd(1)",
		"Names are without <b>basic-</b>", "56 pairs measured", "out of tolerance", "basic-tidb-2 to 7 pods: basic-tidb-2 has no agent", "270±10",
	} {
		if !strings.Contains(page, want) {
			t.Errorf("it has no %q", want)
		}
	}
	for _, bad := range []string{"<script", "http:", "https:", "//", "url(", "@import", "ZgotmplZ", "onclick"} {
		if strings.Contains(page, bad) {
			t.Errorf("it has %q", bad)
		}
	}
}

// Names and messages are text, whatever is in them.
func TestEscapes(t *testing.T) {
	const evil = `<script>alert("1")</script>`
	m := example(3)
	m.Cluster, m.Unseen = evil, []string{evil}
	m.InForce[0].What = evil
	m.Pods[0].Name, m.Pods[0].Zone = evil, evil
	for _, by := range measured.Bys() {
		if page := render(t, m, measured.By(by)); strings.Contains(page, "<script") {
			t.Errorf("by %s there is a script", by)
		}
	}
}

// Where it is not known what is asked for, nothing is marked and that is said.
func TestBlind(t *testing.T) {
	c := measuredtest.Cluster(3)
	c.Veiled = true
	c.Unseen = []string{"you may not read NetworkFaults, so this is not known: the faults"}
	m := measured.Of(c, measuredtest.Now())
	measuredtest.Measure(m, func(*measured.Pair) time.Duration { return time.Second })
	page := render(t, m, measured.ByPod)
	if strings.Contains(page, `class="s6 out`) || !strings.Contains(page, "what is asked for is not known") || !strings.Contains(page, c.Unseen[0]) {
		t.Error(page)
	}
}
