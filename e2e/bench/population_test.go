package bench

import (
	"fmt"
	"net/netip"
	"os"
	"strings"
	"testing"

	"golang.org/x/sync/errgroup"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"github.com/tidelay/tidelay/e2e/madeup"
	"github.com/tidelay/tidelay/pkg/apis/v1alpha1"
)

// size is that of each TidbCluster: 10 pods.
func size() madeup.Replicas { return madeup.Replicas{PD: 3, TiKV: 5, TiDB: 2} }

const podsPerCluster = 10

// population is TidbClusters on an API server, with their pods and two NetworkFaults each.
// The agents in the pods are made up.
type population struct {
	*plane
	clusters int
	fleet    *madeup.Fleet
	agents   [][]*madeup.Agent // by TidbCluster and pod
	pods     map[string]*corev1.Pod
}

// populate makes TidbClusters and all that belongs to them.
func populate(b *testing.B, p *plane, clusters int) *population {
	b.Helper()
	all := &population{plane: p, clusters: clusters, fleet: madeup.NewFleet(), agents: make([][]*madeup.Agent, clusters), pods: map[string]*corev1.Pod{}}
	must(b, all.fleet.ListenEverywhere())
	b.Cleanup(func() { must(b, all.fleet.Close()) })
	for _, component := range []string{"pd", "tikv", "tidb"} {
		all.pods[component] = injectedPod(b, component)
	}
	for i := 0; i < clusters; i += perNamespace {
		must(b, p.Create(b.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespaceOf(i)}}))
	}
	var group errgroup.Group
	group.SetLimit(16)
	for i := range clusters {
		group.Go(func() error { return all.cluster(b, i) })
	}
	must(b, group.Wait())
	return all
}

// injectedPod returns a pod of a component as the injector leaves it.
func injectedPod(b *testing.B, component string) *corev1.Pod {
	b.Helper()
	text, err := os.ReadFile("../../pkg/injection/testdata/" + component + "/out.yaml")
	must(b, err)
	pod := &corev1.Pod{}
	must(b, yaml.Unmarshal(text, pod))
	return pod
}

// addressOf returns the address of a pod's agent. The second address of a pod, which it
// has after it was changed, is that of turn 1.
func addressOf(cluster, pod, turn int) netip.Addr {
	return netip.AddrFrom4([4]byte{127, byte(64 + turn*64 + cluster>>8), byte(cluster), byte(pod + 1)})
}

// cluster makes one TidbCluster, its StatefulSets, its pods and its faults.
func (p *population) cluster(b *testing.B, i int) error {
	meta := metav1.ObjectMeta{Namespace: namespaceOf(i), Name: clusterName(i), Labels: map[string]string{"app.kubernetes.io/managed-by": "tidb-operator"}}
	tc := madeup.Cluster(meta.Name, size())
	tc.ObjectMeta = *meta.DeepCopy()
	tc.Annotations = map[string]string{
		"tidelay.io/inject": "true", "kubectl.kubernetes.io/last-applied-configuration": `{"spec":"` + strings.Repeat("x", 3000) + `"}`,
	}
	if err := p.Create(b.Context(), tc); err != nil {
		return fmt.Errorf("create TidbCluster: %w", err)
	}
	owner := metav1.OwnerReference{APIVersion: "pingcap.com/v1alpha1", Kind: "TidbCluster", Name: tc.Name, UID: tc.UID, Controller: new(true)}
	sets := map[string]*appsv1.StatefulSet{}
	for n, pod := range size().Pods(tc.Name) {
		if sets[pod.Set] == nil {
			set := &appsv1.StatefulSet{ObjectMeta: *meta.DeepCopy()}
			set.Name, set.OwnerReferences = pod.Set, []metav1.OwnerReference{owner}
			template := p.pods[string(pod.Component)]
			set.Spec.Selector = &metav1.LabelSelector{MatchLabels: template.Labels}
			set.Spec.Template.Labels, set.Spec.Template.Spec = template.Labels, *template.Spec.DeepCopy()
			if err := p.Create(b.Context(), set); err != nil {
				return fmt.Errorf("create StatefulSet: %w", err)
			}
			sets[pod.Set] = set
		}
		if err := p.pod(b, i, n, pod, sets[pod.Set]); err != nil {
			return err
		}
	}
	for name, spec := range map[string]v1alpha1.NetworkFaultSpec{
		"slow-pd":   {From: []v1alpha1.Selector{"tikv"}, To: []v1alpha1.Selector{"pd"}, RTT: "20ms"},
		"slow-tidb": {From: []v1alpha1.Selector{"tidb"}, To: []v1alpha1.Selector{"others"}, RTT: "5ms", Jitter: "1ms"},
	} {
		spec.Cluster, spec.UntilDeleted = tc.Name, true
		fault := &v1alpha1.NetworkFault{ObjectMeta: metav1.ObjectMeta{Namespace: meta.Namespace, Name: tc.Name + "-" + name}, Spec: spec}
		if err := p.Create(b.Context(), fault); err != nil {
			return fmt.Errorf("create NetworkFault: %w", err)
		}
	}
	return nil
}

// pod makes pod n of TidbCluster i as it runs.
func (p *population) pod(b *testing.B, i, n int, of madeup.Pod, set *appsv1.StatefulSet) error {
	pod := p.pods[string(of.Component)].DeepCopy()
	pod.Namespace, pod.Name, pod.GenerateName = set.Namespace, of.Name, ""
	pod.OwnerReferences = []metav1.OwnerReference{{APIVersion: "apps/v1", Kind: "StatefulSet", Name: set.Name, UID: set.UID, Controller: new(true)}}
	if err := p.Create(b.Context(), pod); err != nil {
		return fmt.Errorf("create pod: %w", err)
	}
	addr := addressOf(i, n, 0)
	p.agents[i] = append(p.agents[i], p.fleet.Add(addr, string(pod.UID)))
	pod.Status.Phase, pod.Status.PodIP, pod.Status.PodIPs = corev1.PodRunning, addr.String(), []corev1.PodIP{{IP: addr.String()}}
	pod.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: string(of.Component), Ready: true}, {Name: "tidelay-agent", Ready: true, ContainerID: "containerd://" + strings.Repeat("0", 64)}}
	if err := p.Status().Update(b.Context(), pod); err != nil {
		return fmt.Errorf("write status of pod: %w", err)
	}
	return nil
}

// altering counts the requests by which agents got other faults, in all and without those
// of one TidbCluster.
func (p *population) altering(but int) (all, others int) {
	for i, agents := range p.agents {
		for _, a := range agents {
			n := a.Counts().Altering
			all += n
			if i != but {
				others += n
			}
		}
	}
	return all, others
}
