//go:build e2e

package cluster

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/pingcap/tidb-operator/pkg/apis/label"
	pingcapv1alpha1 "github.com/pingcap/tidb-operator/pkg/apis/pingcap/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/e2e-framework/klient/k8s"
)

// The TidbClusters of theFaulted.
const (
	faulted   = "faulted"   // takes NetworkFaults and NetworkTopologies
	neighbour = "neighbour" // has agents too, and must never notice
	abandoned = "abandoned" // has NetworkFaults when the controller goes for good
)

// sizes are enough for every role: a leader of PD and followers, one TiKV that can be cut
// off, and two TiCDCs, of which one owns.
var sizes = map[string]size{
	faulted:   {pd: 3, tikv: 3, tidb: 2, tiflash: 1, ticdc: 2},
	neighbour: {pd: 1, tikv: 1, tidb: 1},
	abandoned: {pd: 1, tikv: 1, tidb: 1},
}

// members are the pods of a TidbCluster of theFaulted but for discovery, by their names
// without the cluster's: pd-0.
func members(cluster string) []string {
	var all []string
	s := sizes[cluster]
	for component, n := range map[string]int32{"pd": s.pd, "tikv": s.tikv, "tidb": s.tidb, "tiflash": s.tiflash, "ticdc": s.ticdc} {
		for i := range n {
			all = append(all, fmt.Sprintf("%s-%d", component, i))
		}
	}
	slices.Sort(all)
	return all
}

// ofFaulted returns the name of a member's pod: tikv-0 is faulted-tikv-0.
func ofFaulted(member string) string { return faulted + "-" + member }

func (w *world) faultedObjects() []object {
	whole := w.tidbCluster(faulted, sizes[faulted], map[string]string{optIn: "true"})
	addTiFlash(whole, sizes[faulted].tiflash)
	addTiCDC(whole, sizes[faulted].ticdc)
	return []object{
		whole,
		w.tidbCluster(neighbour, sizes[neighbour], map[string]string{optIn: "true"}),
		w.tidbCluster(abandoned, sizes[abandoned], map[string]string{optIn: "true", maxDuration: abandonedLease.String()}),
		&corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: pinger, Namespace: w.namespace}, Spec: corev1.PodSpec{Containers: []corev1.Container{pingerContainer()}}},
	}
}

// addTiFlash asks for TiFlash. Of its pod's containers only its own is started from an image
// of a database: TiDB Operator adds one for each of its log files, which are of no use here
// and would need another image.
func addTiFlash(tc *pingcapv1alpha1.TidbCluster, replicas int32) {
	spec := pingcapv1alpha1.ComponentSpec{
		Version: &dbVersion, Image: "pingcap/tiflash:" + dbVersion,
		Annotations: map[string]string{label.AnnTiflashMountCMInTiflashContainer: "true"}, // needs no init container
	}
	for _, log := range []string{"serverlog", "errorlog", "clusterlog"} {
		idle := pingerContainer()
		idle.Name, idle.Command = log, []string{"/pinger"}
		spec.AdditionalContainers = append(spec.AdditionalContainers, idle)
	}
	tc.Spec.TiFlash = &pingcapv1alpha1.TiFlashSpec{
		ComponentSpec: spec, Replicas: replicas, MaxFailoverCount: new(int32(0)),
		StorageClaims: []pingcapv1alpha1.StorageClaim{{
			Resources:        corev1.ResourceRequirements{Requests: tc.Spec.TiKV.Requests},
			StorageClassName: &storageClass,
		}},
	}
}

func addTiCDC(tc *pingcapv1alpha1.TidbCluster, replicas int32) {
	tc.Spec.TiCDC = &pingcapv1alpha1.TiCDCSpec{
		ComponentSpec: pingcapv1alpha1.ComponentSpec{Version: &dbVersion, Image: "pingcap/ticdc:" + dbVersion},
		Replicas:      replicas,
	}
}

func pingerContainer() corev1.Container {
	return corev1.Container{Name: pinger, Image: pingerImage, Args: []string{"wait"}, ImagePullPolicy: corev1.PullIfNotPresent}
}

// waitForFaulted waits for the TidbClusters, and gives each of their pods a pinger.
func (w *world) waitForFaulted(ctx context.Context) error {
	clusters := slices.Sorted(maps.Keys(sizes))
	if err := w.waitForClusters(ctx, clusters...); err != nil {
		return err
	}
	pods := 1 // the pinger
	for _, cluster := range clusters {
		pods += len(members(cluster)) + 1 // discovery
	}
	if err := w.waitForPods(ctx, pods); err != nil {
		return err
	}
	for _, cluster := range clusters {
		if err := w.givePingers(ctx, cluster); err != nil {
			return err
		}
	}
	return nil
}

// givePingers gives each pod of a TidbCluster that has none a pinger, which measures as the
// pod itself would: an ephemeral container has the pod's network, and nothing that TiDB
// Operator or Tidelay looks at changes by it.
func (w *world) givePingers(ctx context.Context, cluster string) error {
	return w.poll(ctx, func(ctx context.Context) error {
		pods, err := w.membersOf(ctx, cluster)
		if err != nil {
			return err
		}
		var waiting error
		for _, pod := range pods {
			if err := w.givePinger(ctx, pod); err != nil {
				return err
			}
			if !hasPinger(pod) {
				waiting = errors.Join(waiting, fmt.Errorf("the pinger in pod %s does not run", pod.Name))
			}
		}
		return waiting
	})
}

func (w *world) givePinger(ctx context.Context, pod corev1.Pod) error {
	if len(pod.Spec.EphemeralContainers) > 0 {
		return nil
	}
	patch := fmt.Sprintf(`{"spec":{"ephemeralContainers":[{"name":%q,"image":%q,"args":["wait"],"imagePullPolicy":"IfNotPresent"}]}}`, pinger, pingerImage)
	err := w.PatchSubresource(ctx, &pod, "ephemeralcontainers", k8s.Patch{PatchType: types.StrategicMergePatchType, Data: []byte(patch)})
	if err != nil {
		return fmt.Errorf("give pod %s a pinger: %w", pod.Name, err)
	}
	return nil
}

func hasPinger(pod corev1.Pod) bool {
	return slices.ContainsFunc(pod.Status.EphemeralContainerStatuses, func(s corev1.ContainerStatus) bool { return s.State.Running != nil })
}

// membersOf lists the pods of a TidbCluster of theFaulted, by name: without discovery, and
// all of them.
func (w *world) membersOf(ctx context.Context, cluster string) ([]corev1.Pod, error) {
	pods := make([]corev1.Pod, 0, len(members(cluster)))
	for _, member := range members(cluster) {
		var pod corev1.Pod
		if err := w.Get(ctx, cluster+"-"+member, w.namespace, &pod); err != nil {
			return nil, err
		}
		if pod.Status.PodIP == "" || pod.DeletionTimestamp != nil {
			return nil, fmt.Errorf("pod %s is not there", pod.Name)
		}
		pods = append(pods, pod)
	}
	return pods, nil
}

// member returns a pod of the TidbCluster faulted: "tikv-0".
func (w *world) member(ctx context.Context, t *testing.T, member string) corev1.Pod {
	t.Helper()
	var pod corev1.Pod
	if err := w.Get(ctx, ofFaulted(member), w.namespace, &pod); err != nil {
		t.Fatal(err)
	}
	return pod
}
