package plugin_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/yaml"

	"github.com/tidelay/tidelay/e2e/madeup"
	"github.com/tidelay/tidelay/pkg/agent/api"
	"github.com/tidelay/tidelay/pkg/apis/v1alpha1"
	"github.com/tidelay/tidelay/pkg/networkfault/decide"
	"github.com/tidelay/tidelay/pkg/networkfault/matrix"
	"github.com/tidelay/tidelay/pkg/plugin/agents"
	"github.com/tidelay/tidelay/pkg/plugin/look"
	"github.com/tidelay/tidelay/pkg/plugin/object"
)

// measuring are made-up agents at the addresses of a world's pods, and an API server's way to
// them.
type measuring struct {
	*world
	fleet *madeup.Fleet
	addrs map[string]netip.Addr    // by pod
	all   map[string]*madeup.Agent // by pod
	// instead answers instead of the agent, if it is set and does.
	instead func(pod string, w http.ResponseWriter, r *http.Request) bool
	// most is how many measurements of all agents were under way at once.
	now, most atomic.Int32
}

// withAgents returns a world whose pods have agents that measure.
func withAgents(t *testing.T) *measuring {
	t.Helper()
	m := &measuring{world: newWorld(t), fleet: madeup.NewFleet(), addrs: map[string]netip.Addr{}, all: map[string]*madeup.Agent{}}
	var pods corev1.PodList
	if err := m.List(t.Context(), &pods); err != nil {
		t.Fatal(err)
	}
	for _, p := range pods.Items {
		m.addrs[p.Name] = netip.MustParseAddr(p.Status.PodIP)
		m.all[p.Name] = m.fleet.Add(m.addrs[p.Name], string(p.UID))
	}
	server := httptest.NewServer(m)
	t.Cleanup(server.Close)
	proxy, err := agents.New(&rest.Config{Host: server.URL}, m.Client)
	if err != nil {
		t.Fatal(err)
	}
	m.agents = proxy
	return m
}

// ServeHTTP is the API server's pod proxy.
func (m *measuring) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	pod, path, is := strings.Cut(strings.TrimPrefix(r.URL.Path, "/api/v1/namespaces/db/pods/"), ":2332/proxy")
	if !is || m.all[pod] == nil {
		http.NotFound(w, r)
		return
	}
	now := m.now.Add(1)
	defer m.now.Add(-1)
	for {
		if most := m.most.Load(); now <= most || m.most.CompareAndSwap(most, now) {
			break
		}
	}
	if m.instead != nil && m.instead(pod, w, r) {
		return
	}
	r.URL.Path = path
	local := &net.TCPAddr{IP: m.addrs[pod].AsSlice(), Port: api.Port}
	m.fleet.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), http.LocalAddrContextKey, local)))
}

// begin has a fault be in force, at the agents too.
func (m *measuring) begin(name string, spec v1alpha1.NetworkFaultSpec) {
	m.t.Helper()
	spec.Cluster, spec.UntilDeleted = "basic", true
	spec.Allow = []v1alpha1.Allowance{v1alpha1.QuorumLoss, v1alpha1.Failover}
	f := object.NewFault("db", name, spec)
	if err := m.Create(m.t.Context(), f); err != nil {
		m.t.Fatal(err)
	}
	m.start(name, time.Minute)
	seen, err := look.Read(m.t.Context(), m, types.NamespacedName{Namespace: "db", Name: "basic"})
	if err != nil {
		m.t.Fatal(err)
	}
	for pod, faults := range seen.InForce(m.world.now).Faults {
		var all []api.Fault
		for _, f := range faults {
			one := f.Wire()
			one.Owner, one.ExpiresAt = decide.Owner, ""
			all = append(all, one)
		}
		if err := m.all[pod].Set(all...); err != nil {
			m.t.Fatal(err)
		}
	}
}

// says runs matrix, which must end with a status, and checks that it says some things.
func (m *measuring) says(status int, args []string, want ...string) {
	m.t.Helper()
	got := m.run(m.t.Context(), append([]string{"matrix", "basic"}, args...)...)
	said := m.out.String() + m.errOut.String()
	if got != status {
		m.t.Errorf("exit status %d, want %d: %s", got, status, said)
	}
	for _, text := range want {
		if !strings.Contains(said, text) {
			m.t.Errorf("no %q in\n%s", text, said)
		}
	}
}

func TestMatrix(t *testing.T) {
	m := withAgents(t)
	m.begin("slow", v1alpha1.NetworkFaultSpec{From: []v1alpha1.Selector{"tikv(0)"}, To: []v1alpha1.Selector{"pd"}, RTT: "20ms"})
	m.begin("cut", v1alpha1.NetworkFaultSpec{From: []v1alpha1.Selector{"pd(0)"}, To: []v1alpha1.Selector{"pd(1)"}, Partition: true})
	m.all["basic-tidb-1"].Act(madeup.Way{Measure: madeup.Measuring{Late: 30 * time.Millisecond}})
	m.says(0, nil, strings.TrimPrefix(`
TidbCluster db/basic: round trips in ms, from the pod of the row to that of the column
in force: NetworkFault cut: +50ms RTT from pd(0) to pd(1)
in force: NetworkFault slow: +50ms RTT from tikv(0) to pd

         pd-0   pd-1   pd-2   tidb-0  tidb-1  tikv-0  tikv-1  tikv-2
pd-0            cut    0.30   0.30    0.30    20.3    0.30    0.30
  asked         cut                           +20
pd-1     cut           0.30   0.30    0.30    20.3    0.30    0.30
  asked  cut                                  +20
pd-2     0.30   0.30          0.30    0.30    20.3    0.30    0.30
  asked                                       +20
tidb-0   0.30   0.30   0.30           0.30    0.30    0.30    0.30
tidb-1   30.3!  30.3!  30.3!  30.3!           30.3!   30.3!   30.3!
tikv-0   20.3   20.3   20.3   0.30    0.30            0.30    0.30
  asked  +20    +20    +20
`, "\n"),
		"!   out of tolerance\ncut no answer, as a partition asks for\nin tolerance: up to 0.5 ms too short or 2 ms too long, or 5 % of what is asked for if more; ",
		"\n56 of 56 pairs measured, 7 out of tolerance", "furthest off: basic-tidb-1 to basic-pd-0: 30.3 ms, nothing asked, 30.0 ms off\n",
		"out of tolerance: basic-tidb-1 to basic-pd-0: 30ms added, nothing asked for")
	if m.most.Load() > 8 {
		t.Errorf("%d agents measure at once", m.most.Load())
	}
	if strings.Contains(m.errOut.String(), "measured ") {
		t.Errorf("progress where nobody looks: %q", m.errOut.String())
	}
}

// What agents lost is out of tolerance.
func TestMatrixOfLostFaults(t *testing.T) {
	m := withAgents(t)
	m.begin("slow", v1alpha1.NetworkFaultSpec{From: []v1alpha1.Selector{"tikv(0)"}, To: []v1alpha1.Selector{"pd(0)"}, RTT: "20ms"})
	for _, a := range m.all {
		if err := a.Set(); err != nil {
			t.Fatal(err)
		}
	}
	m.says(0, nil, "2 out of tolerance", "basic-tikv-0 to basic-pd-0: nothing added, 20ms asked for")
}

// A fault that was set by hand is told, and nothing is said of the pairs of its pod.
func TestMatrixOfAFaultByHand(t *testing.T) {
	m := withAgents(t)
	if err := m.all["basic-tikv-0"].Set(api.Fault{Name: "latency", Delay: "20ms"}); err != nil {
		t.Fatal(err)
	}
	m.says(0, nil, "in force: fault latency, set by hand at basic-tikv-0: ", "20ms late, one way; not counted as asked for\n",
		"tikv-0  20.3?", "56 of 56 pairs measured, nothing asked for; at 42 it is known that nothing is added",
		"not known: basic-tikv-0 to 7 pods: a fault is set by hand at basic-tikv-0")
	if said := m.out.String(); strings.Contains(said, "out of tolerance") || strings.Contains(said, "in force: nothing") {
		t.Error(said)
	}
}

func TestMatrixOutputs(t *testing.T) {
	m := withAgents(t)
	m.says(0, []string{"-o", "json"})
	var d struct {
		Pairs []struct {
			RTT *float64 `json:"rtt_ms"`
		} `json:"pairs"`
	}
	if err := json.Unmarshal(m.out.Bytes(), &d); err != nil || len(d.Pairs) != 56 || *d.Pairs[0].RTT != 0.3 {
		t.Errorf("%v: %s", err, m.out.String())
	}
	m.says(0, []string{"-o", "yaml"})
	if got, err := yaml.YAMLToJSON(m.out.Bytes()); err != nil || json.Valid(m.out.Bytes()) || !strings.Contains(string(got), `"rtt_ms":0.3`) {
		t.Errorf("%v: %s", err, m.out.String())
	}
	m.says(0, []string{"-o", "csv", "--by", "zone"}, "east,west,0.3\n")
	if _, err := matrix.Read(strings.NewReader(m.out.String())); err != nil {
		t.Error(err)
	}
	m.says(0, []string{"--by", "component"}, "longest / median of the pairs", "0.30 / 0.30")
	file := filepath.Join(t.TempDir(), "matrix.html")
	m.says(0, []string{"-o", "html", "--file", file}, "written to "+file)
	m.says(0, []string{"--file", file}, "written to "+file)
	if page, err := os.ReadFile(file); err != nil || !strings.HasPrefix(string(page), "<!DOCTYPE html>") || m.out.Len() > 0 {
		t.Errorf("%v, %s; on the output %q", err, page, m.out.String())
	}
}

// Where one agent is busy it is waited for, and where agents can't, the others still measure.
func TestMatrixOfAgentsThatCannot(t *testing.T) {
	m := withAgents(t)
	var busy atomic.Int32
	m.instead = func(pod string, w http.ResponseWriter, _ *http.Request) bool {
		switch {
		case pod == "basic-pd-0" && busy.Add(1) <= 3:
			w.Header().Set("Content-Type", api.ContentTypeProblem)
			w.WriteHeader(http.StatusTooManyRequests)
			_, _ = fmt.Fprint(w, `{"type":"about:blank","status":429,"detail":"a measurement is under way"}`)
		case pod == "basic-pd-1":
			w.WriteHeader(http.StatusServiceUnavailable)
			_, _ = fmt.Fprint(w, `{"kind":"Status","message":"error trying to reach service"}`)
		default:
			return false
		}
		return true
	}
	m.all["basic-pd-2"].Act(madeup.Way{Measure: madeup.Measuring{Old: true}})
	m.says(0, nil, "42 of 56 pairs measured",
		"not known: basic-pd-1 to 7 pods: the agent of basic-pd-1 does not answer: ",
		"not known: basic-pd-2 to 7 pods: the agent of basic-pd-2 did not measure: it is of a version that can't",
		"pd-1    ?     ")
	if strings.Contains(m.out.String(), " 0.00") {
		t.Error(m.out.String())
	}
}

// What is not measured in time is told, with those that are.
func TestMatrixTimeout(t *testing.T) {
	m := withAgents(t)
	m.all["basic-pd-0"].Act(madeup.Way{Measure: madeup.Measuring{Busy: true}})
	m.says(0, []string{"--timeout", "1s"}, "49 of 56 pairs measured", "not known: basic-pd-0 to 7 pods: not measured within 1s")
	for _, a := range m.all {
		a.Act(madeup.Way{Measure: madeup.Measuring{Busy: true}})
	}
	m.says(1, []string{"--timeout", "300ms"}, "0 of 56 pairs measured", "error: nothing was measured: basic-pd-0 to 7 pods: not measured within 300ms")
}

func TestMatrixWithoutRights(t *testing.T) {
	m := withAgents(t)
	m.instead = func(_ string, w http.ResponseWriter, _ *http.Request) bool {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusForbidden)
		_, _ = fmt.Fprint(w, `{"kind":"Status","reason":"Forbidden","message":"pods \"x\" is forbidden"}`)
		return true
	}
	m.says(1, nil, "error: you may not ask agents: measuring needs the right to create the subresource pods/proxy in namespace db\n")
	if m.out.Len() > 0 {
		t.Error(m.out.String())
	}
	m = withAgents(t)
	m.forbidden["NetworkFault"] = true
	m.says(0, nil, "you may not read NetworkFaults", "56 of 56 pairs measured; what is asked for is not known")
	m.forbidden["Pod"] = true
	m.says(1, nil, "error: TidbCluster basic has no pods; you may not read", "you may not read pods")
}

// What goes by the zones of nodes is not known to who may not read those, and so it is not
// judged. All else is.
func TestMatrixWithoutNodes(t *testing.T) {
	m := withAgents(t)
	m.begin("slow", v1alpha1.NetworkFaultSpec{From: []v1alpha1.Selector{"tikv(0)"}, To: []v1alpha1.Selector{"pd"}, RTT: "20ms"})
	m.forbidden["Node"] = true
	m.says(0, nil, "you may not read nodes", "56 of 56 pairs measured, all as asked for")
	m.forbidden["Node"] = false
	m.begin("zoned", v1alpha1.NetworkFaultSpec{From: []v1alpha1.Selector{"tidb@west"}, To: []v1alpha1.Selector{"pd(0)"}, RTT: "20ms"})
	m.says(0, nil, "56 of 56 pairs measured, all as asked for")
	m.forbidden["Node"] = true
	m.says(0, nil, "you may not read nodes", "NetworkFault zoned goes by the zones of nodes, so what is asked for is not known",
		"56 of 56 pairs measured; what is asked for is not known")
	if said := m.out.String(); strings.Contains(said, "out of tolerance") {
		t.Error(said)
	}
}

// A person who waits no longer gets an end, and no half of a matrix.
func TestMatrixInterrupted(t *testing.T) {
	m := withAgents(t)
	m.isErrTerminal = true
	ctx, cancel := context.WithCancel(t.Context())
	m.instead = func(pod string, _ http.ResponseWriter, r *http.Request) bool {
		if pod != "basic-tikv-2" {
			return false
		}
		_, _ = io.Copy(io.Discard, r.Body) // else it is not seen that nobody waits any more
		cancel()
		<-r.Context().Done()
		return true
	}
	if status := m.run(ctx, "matrix", "basic"); status != 1 || m.out.Len() > 0 || !strings.HasSuffix(m.errOut.String(), "\r\x1b[Kerror: interrupted\n") {
		t.Errorf("exit status %d: %q, %q", status, m.out.String(), m.errOut.String())
	}
}

func TestMatrixProgress(t *testing.T) {
	m := withAgents(t)
	m.isErrTerminal = true
	m.says(0, nil, "\rmeasured 56 of 56 pairs\r\x1b[K")
}

func TestMatrixUsage(t *testing.T) {
	m := withAgents(t)
	m.says(2, []string{"--by", "zones"}, `error: --by "zones"; want pod, component, zone; did you mean zone?`)
	m.says(2, []string{"-o", "xml"}, `--output "xml"`)
	m.says(2, []string{"--timeout", "0s"}, "--timeout 0s: want more than 0s")
	m.says(2, []string{"--file", "/no/such/folder/x.html"}, "there is no folder /no/such/folder")
	var pods corev1.PodList
	if err := m.List(t.Context(), &pods); err != nil {
		t.Fatal(err)
	}
	for i := range pods.Items {
		pods.Items[i].Spec.Containers = pods.Items[i].Spec.Containers[:1]
		pods.Items[i].Spec.NodeName = ""
		if err := m.Update(t.Context(), &pods.Items[i]); err != nil {
			t.Fatal(err)
		}
	}
	m.says(1, nil, "no pod of TidbCluster basic has an agent")
}
