package bench

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"

	admissionv1 "k8s.io/api/admission/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/yaml"
)

// Case is one way an admission goes.
type Case struct {
	// Name says it, Reason is the injector's answer.
	Name, Reason string
	// workload controls the pod.
	workload  string
	component string
}

// Cases are a member whose owners are all in the cache; one with a StatefulSet
// that the cache has not heard of yet, which takes one live read; and a pod of
// TiDB Operator's that belongs to no TidbCluster.
func Cases() []Case {
	return []Case{
		{Name: "hit", Reason: "injected", workload: "tikv", component: "tikv"},
		{Name: "miss", Reason: "injected", workload: late, component: late},
		{Name: "foreign", Reason: "not_member", workload: "monitor", component: "monitor"},
	}
}

// ordinal is in the place of the pod's ordinal. Nobody makes the pods that are asked
// for, and the injector goes without an agent in one that is asked for again and again.
const ordinal = "000000000000"

// Numbered returns a review of another pod of the same workload.
func Numbered(review []byte, n int64) []byte {
	return bytes.ReplaceAll(review, []byte("-"+ordinal), fmt.Appendf(nil, "-%0*d", len(ordinal), n))
}

// fixture is a TiKV pod; the tests of this tier and of the peer run two folders
// below the root.
const fixture = "../../pkg/injection/testdata/tikv/in.yaml"

// Pod returns a TiKV pod of TidbCluster i for c, as an API server sends it.
func (c Case) Pod(i int) ([]byte, error) {
	text, err := os.ReadFile(fixture)
	if err != nil {
		return nil, fmt.Errorf("read pod: %w", err)
	}
	var pod map[string]any
	if err := yaml.Unmarshal(text, &pod); err != nil {
		return nil, fmt.Errorf("read pod: %w", err)
	}
	set := clusterName(i) + "-" + c.workload
	meta := pod["metadata"].(map[string]any)
	meta["name"], meta["namespace"] = set+"-"+ordinal, namespaceOf(i)
	meta["labels"] = metadata("Pod", i, c.component, set, metav1.OwnerReference{}).Labels
	meta["ownerReferences"] = []metav1.OwnerReference{reference("apps/v1", "StatefulSet", set)}
	meta["managedFields"] = managedFields("kube-controller-manager", 3000)
	raw, err := json.Marshal(pod)
	if err != nil {
		return nil, fmt.Errorf("encode pod: %w", err)
	}
	return raw, nil
}

// Review returns an AdmissionReview of that pod.
func (c Case) Review(i int) ([]byte, error) {
	pod, err := c.Pod(i)
	if err != nil {
		return nil, err
	}
	body, err := json.Marshal(admissionv1.AdmissionReview{
		TypeMeta: metav1.TypeMeta{APIVersion: "admission.k8s.io/v1", Kind: "AdmissionReview"},
		Request: &admissionv1.AdmissionRequest{
			UID: uid("review", clusterName(i)), Namespace: namespaceOf(i), Operation: admissionv1.Create,
			Kind:     metav1.GroupVersionKind{Version: "v1", Kind: "Pod"},
			Resource: metav1.GroupVersionResource{Version: "v1", Resource: "pods"},
			Object:   runtime.RawExtension{Raw: pod},
		},
	})
	if err != nil {
		return nil, fmt.Errorf("encode review: %w", err)
	}
	return body, nil
}

// Reviews returns a review for each of the first opted-in TidbClusters, so that
// no answer is that of the last question.
func (c Case) Reviews(n int) ([][]byte, error) {
	var all [][]byte
	for i := 0; len(all) < n; i++ {
		if !optedIn(i) {
			continue
		}
		review, err := c.Review(i)
		if err != nil {
			return nil, err
		}
		all = append(all, review)
	}
	return all, nil
}
