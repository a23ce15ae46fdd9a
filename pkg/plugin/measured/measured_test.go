package measured_test

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tidelay/tidelay/pkg/apis/v1alpha1"
	"github.com/tidelay/tidelay/pkg/networkfault/matrix"
	"github.com/tidelay/tidelay/pkg/networkfault/verify"
	"github.com/tidelay/tidelay/pkg/plugin/look"
	"github.com/tidelay/tidelay/pkg/plugin/measured"
	"github.com/tidelay/tidelay/pkg/plugin/measured/measuredtest"
)

const ms = time.Millisecond

// plain writes without colours.
type plain struct{}

func (plain) Bad(text string) string { return text }

func table(t *testing.T, g *measured.Grid) string {
	t.Helper()
	var b bytes.Buffer
	if err := g.Write(&b, plain{}); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// of returns what was measured of a TidbCluster, as rtt says.
func of(c *look.Cluster, rtt func(*measured.Pair) time.Duration) *measured.Matrix {
	m := measured.Of(c, measuredtest.Now())
	measuredtest.Measure(m, rtt)
	return m
}

func pair(m *measured.Matrix, from, to string) *measured.Pair {
	return m.Pairs[slices.IndexFunc(m.Pairs, func(p *measured.Pair) bool { return p.From == from && p.To == to })]
}

// Pods are in order of their components and numbers, or with a topology of their zones first.
func TestOrder(t *testing.T) {
	names := func(c *look.Cluster) string {
		var all []string
		for _, p := range measured.Of(c, measuredtest.Now()).Pods {
			all = append(all, strings.TrimPrefix(p.Name, "basic-")+"@"+p.Zone)
		}
		return strings.Join(all, " ")
	}
	c := measuredtest.Cluster(25)
	if got := names(c); !strings.Contains(got, "tikv-9@east tikv-10@east") && !strings.Contains(got, "tikv-9@west tikv-10@west") {
		t.Errorf("numbers are not in order: %s", got)
	}
	c = measuredtest.Cluster(5)
	if got, want := names(c), "pd-0@east pd-1@west pd-2@east"; !strings.HasPrefix(got, want) {
		t.Errorf("%s, want %s first", got, want)
	}
	measuredtest.Topology(c, "1ms", "20ms")
	if got := names(c); !strings.HasPrefix(got, "pd-0@a") || !strings.HasSuffix(got, "pd-2@c") {
		t.Error(got)
	}
}

// Faults and the topology are asked for together, and as long as they are in force.
func TestAsked(t *testing.T) {
	c := measuredtest.Cluster(5)
	measuredtest.Topology(c, "1ms", "20ms")
	measuredtest.Fault(c, "slow", "+50ms RTT", v1alpha1.NetworkFaultSpec{From: []v1alpha1.Selector{"pd(2)"}, To: []v1alpha1.Selector{"pd(0)"}, RTT: "50ms"})
	measuredtest.Fault(c, "paused", "+50ms RTT", v1alpha1.NetworkFaultSpec{From: []v1alpha1.Selector{"pd(1)"}, RTT: "50ms"})
	c.Faults[1].Status.Phase = v1alpha1.Paused
	m := measured.Of(c, measuredtest.Now())
	for _, want := range []struct {
		from, to string
		rtt      time.Duration
	}{{"basic-pd-0", "basic-pd-2", 70 * ms}, {"basic-pd-2", "basic-pd-0", 70 * ms}, {"basic-pd-0", "basic-pd-1", ms}} {
		if p := pair(m, want.from, want.to); p.Asked.RTT != want.rtt {
			t.Errorf("%s to %s: %s asked, want %s", want.from, want.to, p.Asked.RTT, want.rtt)
		}
	}
	if got := fmt.Sprint(m.InForce); got != "[NetworkTopology three: 3 zones NetworkFault slow: +50ms RTT from pd(2) to pd(0)]" {
		t.Error(got)
	}
}

// What runs and would not by what is known here is told, and not taken for asked.
func TestDoubt(t *testing.T) {
	c := measuredtest.Cluster(3)
	measuredtest.Fault(c, "slow", "+50ms RTT", v1alpha1.NetworkFaultSpec{From: []v1alpha1.Selector{"pd(2)"}, To: []v1alpha1.Selector{"pd(0)"}, RTT: "50ms"})
	c.Pods[2].Facts.Agent = false
	m := measured.Of(c, measuredtest.Now())
	if m.InForce[0].Doubt == "" || !strings.Contains(m.InForce[0].String(), "not counted as asked for: basic-pd-2") {
		t.Errorf("%+v", m.InForce)
	}
}

func TestVerdicts(t *testing.T) {
	c := measuredtest.Cluster(3)
	measuredtest.Fault(c, "slow", "", v1alpha1.NetworkFaultSpec{From: []v1alpha1.Selector{"pd(0)"}, To: []v1alpha1.Selector{"pd(1)"}, RTT: "50ms"})
	measuredtest.Fault(c, "cut", "", v1alpha1.NetworkFaultSpec{From: []v1alpha1.Selector{"pd(0)"}, To: []v1alpha1.Selector{"pd(2)"}, Partition: true})
	for name, test := range map[string]struct {
		to      string
		rtt     []time.Duration // of each look; 0 for no answer
		verdict verify.Verdict
		face    string
		why     string
	}{
		"as asked":            {"basic-pd-1", []time.Duration{50300 * time.Microsecond}, verify.Right, "50.3", ""},
		"early":               {"basic-pd-1", []time.Duration{2 * ms, 2 * ms}, verify.Wrong, "2.00!", "1.7ms added, 50ms asked for"},
		"late":                {"basic-pd-1", []time.Duration{99 * ms, 99 * ms}, verify.Wrong, "99.0!", "98.7ms added, 50ms asked for"},
		"late once":           {"basic-pd-1", []time.Duration{99 * ms, 50 * ms}, verify.Right, "50.0", ""},
		"no answer":           {"basic-pd-1", []time.Duration{0, 0}, verify.Wrong, "none!", "no answer, 50ms asked for"},
		"a partition":         {"basic-pd-2", []time.Duration{0}, verify.Right, "cut", ""},
		"a partition that is": {"basic-pd-2", []time.Duration{ms, ms}, verify.Wrong, "1.00!", "an answer in 1ms, a partition asked for"},
		"not measured":        {"basic-pd-1", nil, verify.Unknown, "?", "gone"},
		"once, then gone":     {"basic-pd-1", []time.Duration{99 * ms}, verify.Unknown, "99.0?", "gone"},
	} {
		t.Run(name, func(t *testing.T) {
			m := measured.Of(c, measuredtest.Now())
			p := pair(m, "basic-pd-0", test.to)
			for _, rtt := range test.rtt {
				if !p.IsOpen() {
					t.Fatal("it is not open any more")
				}
				measuredtest.Note(p, rtt)
			}
			p.Fail("gone")
			face := (&measured.Cell{Pairs: []*measured.Pair{p}}).Face()
			if p.IsOpen() || p.Verdict() != test.verdict || face.Value+face.Mark != test.face || p.Why() != test.why {
				t.Errorf("open: %t, verdict %d, %s, %q; want %d, %s, %q", p.IsOpen(), p.Verdict(), face.Value+face.Mark, p.Why(), test.verdict, test.face, test.why)
			}
		})
	}
}

// A pod without an agent measures nothing, and others measure to it.
func TestNoAgent(t *testing.T) {
	c := measuredtest.Cluster(3)
	c.Pods[1].Facts.Agent = false
	m := of(c, measuredtest.AsAsked)
	if m.Measured() != 4 || pair(m, "basic-pd-0", "basic-pd-1").Verdict() != verify.Right {
		t.Errorf("%s", table(t, m.By(measured.ByPod)))
	}
	if got := fmt.Sprint(m.Unknown()); got != "[basic-pd-1 to 2 pods: basic-pd-1 has no agent]" {
		t.Error(got)
	}
}

// Where it is not known what is asked for, nothing is right or wrong.
func TestBlind(t *testing.T) {
	c := measuredtest.Cluster(3)
	c.Veiled = true
	m := of(c, func(*measured.Pair) time.Duration { return 10 * ms })
	d := m.By(measured.ByPod).Document()
	if len(m.Out()) != 0 || m.Judged() != 0 || d.Pairs[0].Asked != nil || d.Pairs[0].Verdict != "unknown" || *d.Pairs[0].RTT != 10 {
		t.Errorf("%+v", d.Pairs[0])
	}
	if text := table(t, m.By(measured.ByPod)); strings.Contains(text, "!") || strings.Contains(text, "?") || !strings.Contains(text, "what is asked for is not known") {
		t.Error(text)
	}
}

// The diagonal of groups has the pairs within them, and is empty for one pod.
func TestGroups(t *testing.T) {
	c := measuredtest.Cluster(5)
	m := of(c, func(p *measured.Pair) time.Duration {
		if p.From == "basic-pd-0" && p.To == "basic-pd-1" {
			return 30 * ms
		}
		return ms
	})
	g := m.By(measured.ByComponent)
	counts := map[string]int{}
	for i := range g.Cells {
		for _, c := range g.Cells[i] {
			counts[c.From+" to "+c.To] = len(c.Pairs)
		}
	}
	if len(g.Groups) != 3 || counts["pd to pd"] != 6 || counts["pd to tikv"] != 3 || counts["tikv to tikv"] != 0 {
		t.Errorf("%v", counts)
	}
	if f := g.Cells[0][0].Face(); f.Value != "30.0" || f.Median != "1.00" || f.Mark != "!" {
		t.Errorf("%+v", f)
	}
	for _, row := range g.Document().Groups {
		if row.From == "pd" && row.To == "pd" && (*row.Longest != 30 || *row.Median != 1 || row.OutOfTolerance != 1 || row.Pairs != 6) {
			t.Errorf("%+v", row)
		}
	}
}

// Sixty pods by pod come in panels, each with all rows.
func TestPanels(t *testing.T) {
	text := table(t, of(measuredtest.Cluster(60), measuredtest.AsAsked).By(measured.ByPod))
	longest := 0
	for line := range strings.Lines(text) {
		longest = max(longest, len(line))
	}
	if n := strings.Count(text, "\npd-0 "); n != 5 || longest > 130 {
		t.Errorf("%d panels, and the longest line has %d characters:\n%s", n, longest, text)
	}
}

// What is written as CSV by zone is a matrix for topologies, of the same medians either way.
func TestZonesAreAMatrix(t *testing.T) {
	c := measuredtest.Cluster(9)
	measuredtest.Topology(c, "1.5ms", "20ms")
	var b bytes.Buffer
	if err := of(c, measuredtest.AsAsked).By(measured.ByZone).WriteCSV(&b); err != nil {
		t.Fatal(err)
	}
	read, err := matrix.Read(bytes.NewReader(b.Bytes()))
	if err != nil {
		t.Fatalf("%v:\n%s", err, b.String())
	}
	want := map[string]string{"a a": "0.3ms", "a b": "1.8ms", "a c": "20.3ms", "b b": "0.3ms", "b c": "20.3ms", "c c": "0.3ms"}
	for _, l := range read.Links {
		key := fmt.Sprintf("%s %s", l.Between[0], l.Between[1])
		if d, err := time.ParseDuration(string(l.RTT)); err != nil || d.String() != duration(t, want[key]) {
			t.Errorf("%s: %s, want %s", key, l.RTT, want[key])
		}
		delete(want, key)
	}
	if len(want) > 0 {
		t.Errorf("missing: %v in\n%s", want, b.String())
	}
}

func duration(t *testing.T, text string) string {
	t.Helper()
	d, err := time.ParseDuration(text)
	if err != nil {
		t.Fatal(err)
	}
	return d.String()
}

// A topology by the zones of nodes, which may not be read, makes it unknown what is asked for.
// Its zones are those that the controller has told.
func TestHiddenNodes(t *testing.T) {
	for name, c := range map[string]struct {
		spread int32
		want   bool
	}{"by nodes": {0, false}, "dealt out": {3, true}} {
		seen := measuredtest.Cluster(6)
		measuredtest.Topology(seen, "1ms", "20ms")
		seen.Topologies[0].Spec.Spread, seen.Hidden = c.spread, []string{"nodes"}
		for i := range seen.Pods {
			seen.Pods[i].Facts.Zone = ""
		}
		m := of(seen, measuredtest.AsAsked)
		isSaid := strings.Contains(strings.Join(m.Unseen, "; "), "NetworkTopology three goes by the zones of nodes")
		if m.IsAskedKnown != c.want || isSaid == c.want || len(m.Out()) > 0 || len(m.By(measured.ByZone).Groups) != 3 {
			t.Errorf("%s: %t, %q, %d out of tolerance, %+v", name, m.IsAskedKnown, m.Unseen, len(m.Out()), m.By(measured.ByZone).Groups)
		}
	}
}

// Pods without a zone, and zones without an answer, are left out with a comment.
func TestZonesLeftOut(t *testing.T) {
	c := measuredtest.Cluster(5)
	c.Pods[0].Facts.Zone = ""
	var b bytes.Buffer
	m := of(c, func(p *measured.Pair) time.Duration {
		if p.From == "basic-pd-1" || p.To == "basic-pd-1" {
			return 0
		}
		return ms
	})
	if err := m.By(measured.ByZone).WriteCSV(&b); err != nil {
		t.Fatal(err)
	}
	if _, err := matrix.Read(bytes.NewReader(b.Bytes())); err != nil || !strings.Contains(b.String(), "# (no zone) to east: left out") {
		t.Errorf("%v:\n%s", err, b.String())
	}
}

// CSV has as many cells in each row as names, and numbers as JSON has them.
func TestCSV(t *testing.T) {
	c := measuredtest.Cluster(4)
	measuredtest.Fault(c, "cut", "", v1alpha1.NetworkFaultSpec{From: []v1alpha1.Selector{"pd(0)"}, To: []v1alpha1.Selector{"pd(2)"}, Partition: true})
	m := of(c, measuredtest.AsAsked)
	for by, want := range map[measured.By]string{
		measured.ByPod:       "basic-pd-0,basic-pd-2,,0.3,,,true,2379,in_tolerance,",
		measured.ByComponent: "pd,pd,6,4,0.3,0.3,0,0,2,0,0",
	} {
		var b bytes.Buffer
		if err := m.By(by).WriteCSV(&b); err != nil {
			t.Fatal(err)
		}
		if _, err := csv.NewReader(&b).ReadAll(); err != nil {
			t.Error(err)
		}
		b.Reset()
		if err := m.By(by).WriteCSV(&b); err != nil || !strings.Contains(b.String(), want+"\n") {
			t.Errorf("no %q in\n%s", want, b.String())
		}
	}
}

// What is not known is null and never 0.
func TestJSON(t *testing.T) {
	c := measuredtest.Cluster(3)
	c.Pods[1].Facts.Agent = false
	content, err := json.Marshal(of(c, measuredtest.AsAsked).By(measured.ByPod).Document())
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`"in_force":[]`, `"time":"2030-01-31T12:00:00Z"`,
		`{"from":"basic-pd-0","to":"basic-pd-1","rtt_ms":0.3,"baseline_ms":0.3,"asked_ms":0,"asked_spread_ms":0,"asked_partition":false,"tcp_port":2379,"verdict":"in_tolerance"}`,
		`{"from":"basic-pd-1","to":"basic-pd-0","rtt_ms":null,"baseline_ms":null,"asked_ms":0,"asked_spread_ms":0,"asked_partition":false,"tcp_port":2379,"verdict":"unknown","why":"basic-pd-1 has no agent"}`,
	} {
		if !strings.Contains(string(content), want) {
			t.Errorf("no %s in %s", want, content)
		}
	}
}

func TestNumbers(t *testing.T) {
	for d, want := range map[time.Duration]string{
		30 * time.Microsecond: "0.03", 300 * time.Microsecond: "0.30", 9994 * time.Microsecond: "9.99", 9995 * time.Microsecond: "10.0",
		99949 * time.Microsecond: "99.9", 99950 * time.Microsecond: "100", 6 * time.Second: "6000",
	} {
		if got := measured.Number(d); got != want {
			t.Errorf("%s: %s, want %s", d, got, want)
		}
	}
	if got := measured.Short(20 * ms); got != "20" {
		t.Error(got)
	}
	if got := measured.Short(200 * ms); got != "200" {
		t.Error(got)
	}
}
