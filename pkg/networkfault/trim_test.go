package networkfault

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	tcv1alpha1 "github.com/pingcap/tidb-operator/pkg/apis/pingcap/v1alpha1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tidelay/tidelay/pkg/injection"
	"github.com/tidelay/tidelay/pkg/networkfault/facts"
	"github.com/tidelay/tidelay/pkg/networkfault/safety"
	"github.com/tidelay/tidelay/pkg/networkfault/selector"
	"github.com/tidelay/tidelay/pkg/tidbcluster"
)

// TestTrimKeepsWhatIsRead trims made-up TidbClusters, of which selector and safety must
// know the same as before.
func TestTrimKeepsWhatIsRead(t *testing.T) {
	for seed := range uint64(500) {
		random := rand.New(rand.NewPCG(seed, 0))
		whole := randomCluster(random)
		trimmed, err := Trim(whole.DeepCopy())
		if err != nil {
			t.Fatal(err)
		}
		cluster := trimmed.(*tcv1alpha1.TidbCluster)
		if want, got := selector.RolesOf(&whole.Status), selector.RolesOf(&cluster.Status); !reflect.DeepEqual(want, got) {
			t.Fatalf("seed %d: roles (-whole +trimmed):\n%s", seed, cmp.Diff(want, got))
		}
		want, got := safety.FactsOf(whole, nil), safety.FactsOf(cluster, nil)
		if !reflect.DeepEqual(want, got) {
			t.Fatalf("seed %d: facts\n%+v of the whole\n%+v of the trimmed", seed, want, got)
		}
		if a, b := decideAnnotations(whole), decideAnnotations(cluster); !reflect.DeepEqual(a, b) {
			t.Fatalf("seed %d: annotations %v, want %v", seed, b, a)
		}
	}
}

func decideAnnotations(c *tcv1alpha1.TidbCluster) [2]string {
	return [2]string{c.Annotations["tidelay.io/protect"], c.Annotations[tidbcluster.InjectAnnotation]}
}

// randomCluster returns a TidbCluster in which anything that matters may be set.
func randomCluster(r *rand.Rand) *tcv1alpha1.TidbCluster {
	is := func() bool { return r.IntN(2) == 0 }
	number := func() *int32 {
		if is() {
			return nil
		}
		return new(r.Int32N(4))
	}
	phase := func() tcv1alpha1.MemberPhase {
		return []tcv1alpha1.MemberPhase{"", tcv1alpha1.NormalPhase, tcv1alpha1.UpgradePhase, tcv1alpha1.ScalePhase}[r.IntN(4)]
	}
	set := func() *appsv1.StatefulSetStatus {
		if is() {
			return nil
		}
		return &appsv1.StatefulSetStatus{CurrentRevision: fmt.Sprint(r.IntN(2)), UpdateRevision: fmt.Sprint(r.IntN(2)), Replicas: 3, UpdatedReplicas: r.Int32N(4)}
	}
	stores := func(first int) map[string]tcv1alpha1.TiKVStore {
		all := map[string]tcv1alpha1.TiKVStore{}
		for i := range r.IntN(4) {
			all[fmt.Sprint(first+i)] = tcv1alpha1.TiKVStore{
				ID: fmt.Sprint(first + i), PodName: fmt.Sprintf("basic-tikv-%d", i), LeaderCount: r.Int32N(100), IP: "10.0.0.1",
				State: []string{tcv1alpha1.TiKVStateUp, tcv1alpha1.TiKVStateDown, tcv1alpha1.TiKVStateTombstone}[r.IntN(3)],
			}
		}
		return all
	}
	members := func() map[string]tcv1alpha1.PDMember {
		all := map[string]tcv1alpha1.PDMember{}
		for i := range r.IntN(4) {
			name := fmt.Sprintf("basic-pd-%d", i)
			all[name] = tcv1alpha1.PDMember{Name: name, ID: fmt.Sprint(i), Health: is()}
		}
		return all
	}
	c := &tcv1alpha1.TidbCluster{ObjectMeta: metav1.ObjectMeta{Name: "basic", Annotations: map[string]string{tidbcluster.InjectAnnotation: "true", "other": "x"}}}
	if is() {
		c.Annotations["tidelay.io/protect"] = "true"
	}
	c.Spec.Version, c.Spec.Paused = []string{"v8.5.1", "v8.5.2", "nightly"}[r.IntN(3)], is()
	if r.IntN(4) == 0 {
		c.Spec.Cluster = &tcv1alpha1.TidbClusterRef{Name: "other"}
	}
	if r.IntN(8) > 0 {
		c.Spec.PD = &tcv1alpha1.PDSpec{Replicas: 3, MaxFailoverCount: number(), BaseImage: "pingcap/pd", Config: tcv1alpha1.NewPDConfig()}
		for key, value := range map[string]any{
			"lease": 7, "replication.max-replicas": 5, "replication.location-labels": []string{"zone", "host"}, "log.level": "info",
		} {
			if is() {
				c.Spec.PD.Config.Set(key, value)
			}
		}
		if is() {
			c.Spec.PD.Version = new("v8.5.0")
		}
	}
	c.Status.PD = tcv1alpha1.PDStatus{Synced: is(), Phase: phase(), StatefulSet: set(), Members: members(), Image: "pingcap/pd:v8.5.2", VolReplaceInProgress: is()}
	if r.IntN(4) == 0 {
		c.Status.PD.PeerMembers = members()
	}
	c.Status.PD.Leader = c.Status.PD.Members["basic-pd-0"]
	if is() {
		c.Spec.TiKV = &tcv1alpha1.TiKVSpec{Replicas: 3, MaxFailoverCount: number()}
	}
	c.Status.TiKV = tcv1alpha1.TiKVStatus{Synced: is(), Phase: phase(), StatefulSet: set(), Stores: stores(0), VolReplaceInProgress: is()}
	if r.IntN(4) == 0 {
		c.Status.TiKV.PeerStores = stores(20)
	}
	if is() {
		c.Spec.TiFlash = &tcv1alpha1.TiFlashSpec{Replicas: 1, MaxFailoverCount: number()}
	}
	c.Status.TiFlash = tcv1alpha1.TiFlashStatus{Synced: is(), Phase: phase(), StatefulSet: set(), Stores: stores(10), VolReplaceInProgress: is()}
	if is() {
		c.Spec.TiDB = &tcv1alpha1.TiDBSpec{Replicas: 2, MaxFailoverCount: number()}
	}
	c.Status.TiDB = tcv1alpha1.TiDBStatus{Phase: phase(), StatefulSet: set(), VolReplaceInProgress: is(), Members: map[string]tcv1alpha1.TiDBMember{"basic-tidb-0": {Name: "basic-tidb-0", Health: is()}}}
	if is() {
		c.Spec.TiCDC, c.Spec.TiProxy, c.Spec.Pump = &tcv1alpha1.TiCDCSpec{Replicas: 1}, &tcv1alpha1.TiProxySpec{Replicas: 1}, &tcv1alpha1.PumpSpec{Replicas: 1}
	}
	c.Status.TiCDC = tcv1alpha1.TiCDCStatus{Synced: is(), Phase: phase(), StatefulSet: set(), Captures: map[string]tcv1alpha1.TiCDCCapture{"a": {PodName: "basic-ticdc-0", IsOwner: is()}}}
	c.Status.TiProxy = tcv1alpha1.TiProxyStatus{Synced: is(), Phase: phase(), StatefulSet: set()}
	c.Status.Pump = tcv1alpha1.PumpStatus{Phase: phase(), StatefulSet: set()}
	if is() {
		c.Spec.PDMS = []*tcv1alpha1.PDMSSpec{{Name: "tso", Replicas: 2}, nil}
		c.Status.PDMS = map[string]*tcv1alpha1.PDMSStatus{"tso": {Synced: is(), Phase: phase(), StatefulSet: set()}, "scheduling": nil}
	}
	return c
}

func TestTrimOfATidbClusterThatAsksForNothing(t *testing.T) {
	c := randomCluster(rand.New(rand.NewPCG(1, 1)))
	c.Annotations = map[string]string{"other": "x"}
	if _, err := Trim(c); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(c.Spec, tcv1alpha1.TidbClusterSpec{}) || len(c.Status.TiKV.Stores) > 0 {
		t.Errorf("spec %+v and status %+v are kept", c.Spec, c.Status)
	}
}

func TestTrimPod(t *testing.T) {
	for name, change := range map[string]func(*corev1.Pod){
		"container": func(*corev1.Pod) {},
		"native sidecar": func(p *corev1.Pod) {
			native := agent()
			p.Status.InitContainerStatuses = []corev1.ContainerStatus{{Name: injection.ContainerName, ContainerID: "containerd://1"}}
			native.RestartPolicy = new(corev1.ContainerRestartPolicyAlways)
			p.Spec.InitContainers, p.Spec.Containers = []corev1.Container{native, {Name: "init"}}, p.Spec.Containers[:1]
		},
		"attached": func(p *corev1.Pod) {
			attach(p, corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{}}, corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}, corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{}})
			if got, _ := injection.AgentOf(p); got.Status.ContainerID != "tidelay-agent-2" || got.MaxDuration() != 2*time.Hour {
				t.Errorf("the agent is %s, want the one that runs", got.Status.ContainerID)
			}
		},
		"attached and waiting": func(p *corev1.Pod) {
			attach(p, corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "ErrImagePull"}})
		},
		"attached and ended": func(p *corev1.Pod) {
			attach(p, corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: 137}})
		},
		"none":            func(p *corev1.Pod) { p.Spec.Containers = p.Spec.Containers[:1] },
		"host's network":  func(p *corev1.Pod) { p.Spec.HostNetwork = true },
		"two families":    func(p *corev1.Pod) { p.Status.PodIPs = append(p.Status.PodIPs, corev1.PodIP{IP: "fd00::1"}) },
		"without address": func(p *corev1.Pod) { p.Status.PodIP, p.Status.PodIPs = "", nil },
		"a started agent": func(p *corev1.Pod) { p.Status.ContainerStatuses[1].ContainerID = "containerd://2" },
		"a dead agent": func(p *corev1.Pod) {
			p.Status.ContainerStatuses[1] = corev1.ContainerStatus{Name: injection.ContainerName, ContainerID: "containerd://2", State: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{}}}
		},
		"not ready": func(p *corev1.Pod) { p.Status.ContainerStatuses[0].Ready = false },
	} {
		t.Run(name, func(t *testing.T) {
			whole := newPod(tidbcluster.TiKV, 1, "10.0.0.1")
			change(whole)
			trimmed := whole.DeepCopy()
			if _, err := Trim(trimmed); err != nil {
				t.Fatal(err)
			}
			know := func(p *corev1.Pod) []any {
				agent, has := injection.AgentOf(p)
				return []any{
					has, agent.MaxDuration(), agent.Status.ContainerID, agent.IsDown(), agent.HasEnded(), facts.Pod(p, tidbcluster.TiKV, nil),
					clusterOfPod(p), nodeOfPod(p), p.Labels[tidbcluster.ComponentLabel], p.UID, p.Status.Phase,
				}
			}
			if want, got := know(whole), know(trimmed); !reflect.DeepEqual(want, got) {
				t.Errorf("known of the trimmed pod: %v, want %v", got, want)
			}
			if len(trimmed.Spec.Containers) > 1 || len(trimmed.Spec.InitContainers) > 1 || trimmed.Spec.NodeName == "" {
				t.Errorf("kept %+v", trimmed.Spec)
			}
		})
	}
}

// An agent's container that has ended, or waits for its next start, is down, and one of
// which kubelet says nothing yet is not.
func TestDown(t *testing.T) {
	for want, states := range map[bool][]corev1.ContainerState{
		false: {{}, {Running: &corev1.ContainerStateRunning{}}},
		true:  {{Waiting: &corev1.ContainerStateWaiting{Reason: "CrashLoopBackOff"}}, {Terminated: &corev1.ContainerStateTerminated{ExitCode: 137}}},
	} {
		for _, state := range states {
			pod := newPod(tidbcluster.TiKV, 1, "10.0.0.1")
			pod.Status.ContainerStatuses[1].State = state
			trimPod(pod)
			if got, _ := injection.AgentOf(pod); got.IsDown() != want || got.HasEnded() {
				t.Errorf("%+v: down %t, want %t, and never ended for good", state, got.IsDown(), want)
			}
		}
	}
}

// Any label of a node can say its zone.
func TestTrimNode(t *testing.T) {
	labels := map[string]string{corev1.LabelTopologyZone: "a", "rack": "7"}
	node := emptyNode()
	node.Name, node.Labels, node.Annotations = "node", labels, map[string]string{"large": "x"}
	if _, err := trimNode(node); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(node.Labels, labels) || node.Annotations != nil || node.Name != "node" {
		t.Errorf("kept %+v", node.ObjectMeta)
	}
}
