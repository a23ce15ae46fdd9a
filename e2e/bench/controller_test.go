package bench

import (
	"cmp"
	"fmt"
	"maps"
	"os"
	"strconv"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tidelay/tidelay/e2e/madeup"
)

// BenchmarkController is the controller as it is shipped, but for the check for missed
// pods, on a real API server with 1000 TidbClusters of 10 pods and 2 NetworkFaults each,
// or with $TIDELAY_CLUSTERS of them. API server, etcd and agents share the machine with
// the controller.
//
//   - Start: all objects are there, and nothing is applied. Until all is.
//   - Quiet: a minute in which nothing happens.
//   - Pod: one pod gets another address, in turn in twenty TidbClusters.
//   - Restart: the controller starts again while all is applied, and leads at once, as after
//     one that has given the lead back. Until each agent was asked.
//
// It fails if a change of one TidbCluster reaches the agents of another one, if a quiet
// minute writes to the API server, or if an agent measures more often than it may.
func BenchmarkController(b *testing.B) {
	clusters, err := strconv.Atoi(cmp.Or(os.Getenv("TIDELAY_CLUSTERS"), "1000"))
	must(b, err)
	began := time.Now()
	all := populate(b, startPlane(b), clusters)
	b.Logf("%d TidbClusters were made in %s", clusters, time.Since(began).Round(time.Second))
	c := &controller{population: all, process: startController(b, all.plane)}
	b.Run("Start", c.start)
	b.Run("Quiet", c.quiet)
	b.Run("Pod", c.pod)
	c.stop()
	lease := &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Namespace: SystemNamespace, Name: "tidelay-controller"}}
	must(b, all.Delete(b.Context(), lease))
	c.process = startController(b, all.plane)
	b.Run("Restart", c.restart)
}

// scrapeInterval is how often the controller's metrics are read, of which there are five
// lines for each TidbCluster.
const scrapeInterval = time.Second

func startController(b *testing.B, p *plane) *process {
	b.Helper()
	return startProcess(b, "controller", p.kubeconfig, "--missed-check=0s")
}

// controller is the one that is measured.
type controller struct {
	*population
	*process
}

// counts are what the controller has counted since it started.
type counts struct{ reconciles, seconds, pushes, cpu float64 }

func (c *controller) counts(b *testing.B) counts {
	b.Helper()
	text, err := get(b.Context(), "http://"+c.metrics+"/metrics")
	must(b, err)
	now := counts{cpu: number(b, text, "process_cpu_seconds_total")}
	for _, m := range family(b, text, "controller_runtime_reconcile_total") {
		now.reconciles += m.GetCounter().GetValue()
	}
	for _, m := range family(b, text, "controller_runtime_reconcile_time_seconds") {
		now.seconds += m.GetHistogram().GetSampleSum()
	}
	pushes := family(b, text, "tidelay_pushes_total")
	if len(pushes) == 0 {
		b.Fatal("the controller does not count its requests to agents")
	}
	for _, m := range pushes {
		if result := labels(m)["result"]; result != "ok" && m.GetCounter().GetValue() > 0 {
			b.Errorf("%v requests to agents came to %s", m.GetCounter().GetValue(), result)
		}
		now.pushes += m.GetCounter().GetValue()
	}
	return now
}

func (n counts) since(m counts) counts {
	return counts{n.reconciles - m.reconciles, n.seconds - m.seconds, n.pushes - m.pushes, n.cpu - m.cpu}
}

// once runs what is measured, which takes its own time and not b.N times.
func once(b *testing.B, measure func()) {
	b.Helper()
	for b.Loop() {
		measure()
	}
	b.ReportMetric(0, "ns/op")
}

func (c *controller) reportMemory(b *testing.B) {
	b.ReportMetric(c.memory(b, "VmRSS"), "rss-MB")
	b.ReportMetric(c.memory(b, "VmHWM"), "peak-MB")
	b.ReportMetric(c.metric(b, "go_gc_heap_live_bytes")/1e6, "live-MB")
}

func (c *controller) start(b *testing.B) {
	once(b, func() {
		served := c.cpuOfServer(b)
		c.waitEvery(b, scrapeInterval, 10*time.Minute, func() error {
			if n := c.metric(b, "tidelay_apply_duration_seconds_count"); int(n) < 2*c.clusters {
				return fmt.Errorf("%v of %d faults are applied", n, 2*c.clusters)
			}
			return nil
		})
		b.ReportMetric(time.Since(c.started).Seconds(), "applied-s")
		b.ReportMetric(c.cpuOfServer(b)-served, "apiserver-cpu-s")
		b.ReportMetric(c.ready.Seconds(), "ready-s")
		now := c.counts(b)
		b.ReportMetric(now.cpu, "cpu-s")
		b.ReportMetric(now.pushes, "pushes")
		b.ReportMetric(now.reconciles, "reconciles")
		b.ReportMetric(now.seconds/now.reconciles*1000, "ms/reconcile")
		c.reportMemory(b)
	})
	c.check(b)
}

// check compares the agents with what was asked for.
func (c *controller) check(b *testing.B) {
	b.Helper()
	for i, agents := range c.agents {
		for n, a := range agents {
			if held := len(a.Faults()); held == 0 || held > 2 {
				b.Fatalf("the agent of pod %d of TidbCluster %d holds %d faults", n, i, held)
			}
		}
	}
}

// waitQuiet waits until nobody has written to the API server for ten seconds, such as
// Events.
func (c *controller) waitQuiet(b *testing.B) {
	b.Helper()
	last, since := c.written(b), time.Now()
	c.waitEvery(b, time.Second, 10*time.Minute, func() error {
		if now := c.written(b); !maps.Equal(now, last) {
			last, since = now, time.Now()
		}
		if time.Since(since) < 10*time.Second {
			return fmt.Errorf("written a moment ago: %v", last)
		}
		return nil
	})
}

func (c *controller) quiet(b *testing.B) {
	c.waitQuiet(b)
	once(b, func() {
		before, writes, asked, measured := c.counts(b), c.written(b), c.asked(), c.measured()
		<-time.After(time.Minute)
		now, others := c.counts(b).since(before), c.written(b)
		most, all := c.measured().since(measured)
		b.ReportMetric(float64(all), "measurements/min")
		b.ReportMetric(float64(most), "measurements/agent/min")
		if most > perMinute || all == 0 {
			b.Errorf("an agent measured %d times in a minute, and all of them %d times", most, all)
		}
		b.ReportMetric(now.cpu, "cpu-s/min")
		b.ReportMetric(now.pushes, "pushes/min")
		b.ReportMetric(now.reconciles, "reconciles/min")
		if asked := c.asked().since(asked); asked.Altering > 0 || asked.Empty > 0 || asked.Others > 0 {
			b.Errorf("agents were asked for more than renewals: %+v", asked)
		}
		if !maps.Equal(writes, others) {
			b.Errorf("written before %v and after %v", writes, others)
		}
		c.reportMemory(b)
	})
}

// perMinute is how often an agent may be asked to measure within a minute.
const perMinute = 8

// measured is how often each agent has measured, by TidbCluster and pod.
type measured [][]int

func (c *controller) measured() measured {
	var all measured
	for _, agents := range c.agents {
		var own []int
		for _, a := range agents {
			own = append(own, a.Counts().Measurements)
		}
		all = append(all, own)
	}
	return all
}

// since returns the most that one agent has measured since, and how often all have.
func (m measured) since(before measured) (most, all int) {
	for i := range m {
		for n := range m[i] {
			one := m[i][n] - before[i][n]
			most, all = max(most, one), all+one
		}
	}
	return most, all
}

// total is the requests that all agents got.
type total madeup.Counts

func (c *controller) asked() total {
	var sum total
	for _, agents := range c.agents {
		for _, a := range agents {
			n := a.Counts()
			sum.Changes, sum.Empty, sum.Altering, sum.Others = sum.Changes+n.Changes, sum.Empty+n.Empty, sum.Altering+n.Altering, sum.Others+n.Others
		}
	}
	return sum
}

func (t total) since(u total) total {
	return total{Changes: t.Changes - u.Changes, Empty: t.Empty - u.Empty, Altering: t.Altering - u.Altering, Others: t.Others - u.Others}
}

// pod fails where more than the agents of one TidbCluster get other faults.
func (c *controller) pod(b *testing.B) {
	const turns = 20
	once(b, func() {
		before := c.counts(b)
		var altered int
		var took time.Duration
		for turn := range min(turns, c.clusters) {
			i := turn * c.clusters / turns % c.clusters
			all, others := c.altering(i)
			took += c.move(b, i)
			nowAll, nowOthers := c.altering(i)
			if nowOthers > others {
				b.Errorf("a pod of TidbCluster %d changed %d agents of others", i, nowOthers-others)
			}
			if n := nowAll - all; n > podsPerCluster {
				b.Errorf("one pod changed %d agents", n)
			}
			altered += nowAll - all
		}
		now := c.counts(b).since(before)
		b.ReportMetric(took.Seconds()*1000/turns, "ms/change")
		b.ReportMetric(float64(altered)/turns, "pushes/change")
		b.ReportMetric(now.reconciles/turns, "reconciles/change")
		b.ReportMetric(now.seconds/now.reconciles*1000, "ms/reconcile")
	})
}

// move gives the first pod of PD of a TidbCluster another address, and waits until it has
// its faults there and the peers that it has faults with have the address.
func (c *controller) move(b *testing.B, i int) time.Duration {
	b.Helper()
	pod := &corev1.Pod{}
	must(b, c.Get(b.Context(), client.ObjectKey{Namespace: namespaceOf(i), Name: clusterName(i) + "-pd-0"}, pod))
	addr := addressOf(i, 0, 1)
	agent := c.fleet.Add(addr, string(pod.UID))
	peers := c.agents[i][1:]
	c.agents[i][0] = agent
	pod.Status.PodIP, pod.Status.PodIPs = addr.String(), []corev1.PodIP{{IP: addr.String()}}
	began := time.Now()
	must(b, c.Status().Update(b.Context(), pod))
	c.waitEvery(b, time.Millisecond, time.Minute, func() error {
		if len(agent.Faults()) == 0 {
			return fmt.Errorf("the pod has no fault at its new address %s", addr)
		}
		// Of the peers only those of TiKV and TiDB have faults with PD.
		for n, peer := range peers[size().PD-1:] {
			if !peer.Names(addr) {
				return fmt.Errorf("peer %d has no fault with %s", n, addr)
			}
		}
		return nil
	})
	return time.Since(began)
}

func (c *controller) restart(b *testing.B) {
	once(b, func() {
		asked := c.clusters * podsPerCluster
		c.waitEvery(b, scrapeInterval, 10*time.Minute, func() error {
			if n := c.counts(b).pushes; int(n) < asked {
				return fmt.Errorf("%v of %d agents were asked", n, asked)
			}
			return nil
		})
		b.ReportMetric(time.Since(c.started).Seconds(), "asked-s")
		b.ReportMetric(c.ready.Seconds(), "ready-s")
		now := c.counts(b)
		b.ReportMetric(now.cpu, "cpu-s")
		b.ReportMetric(now.reconciles, "reconciles")
		c.reportMemory(b)
	})
	c.check(b)
}
