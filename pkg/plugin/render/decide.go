package render

import (
	"cmp"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"

	"github.com/tidelay/tidelay/pkg/injection"
	"github.com/tidelay/tidelay/pkg/tidbcluster"
	"github.com/tidelay/tidelay/pkg/tidbcluster/resolve"
)

// renderer is a Render under way.
type renderer struct {
	Options
	// clusters and levels are the TidbClusters of the documents, and the Pod Security levels
	// that their Namespaces enforce.
	clusters map[types.NamespacedName]head
	levels   map[string]string
	// isAssumed is whether Namespace is only assumed.
	isAssumed bool
	result    Result
}

// learn takes from the documents what decisions go by beside the pods.
func (r *renderer) learn(documents []document) error {
	r.clusters, r.levels = map[types.NamespacedName]head{}, map[string]string{}
	for _, d := range documents {
		if err := r.learnOne(d.object); err != nil {
			return fmt.Errorf("document %d: %w", d.number, err)
		}
	}
	return nil
}

func (r *renderer) learnOne(o object) error {
	for _, item := range items(o) {
		if err := r.learnOne(item); err != nil {
			return err
		}
	}
	if o == nil || isList(o) {
		return nil
	}
	of, err := headOf(o)
	if err != nil {
		return err
	}
	if cluster := tidbcluster.GroupVersionKind(); of.is(cluster.Group, cluster.Kind) {
		r.clusters[types.NamespacedName{Namespace: cmp.Or(of.Namespace, r.Namespace), Name: of.Name}] = of
	}
	if of.is("", "Namespace") {
		r.levels[of.Name] = of.Labels[injection.EnforceLabel]
	}
	return nil
}

// decide decides as the injector would about a pod of an object.
func (r *renderer) decide(of head, pod *corev1.Pod) injection.Decision {
	member, err := r.member(pod)
	if err != nil {
		return injection.Decision{Reason: injection.NotMember, Detail: err.Error()}
	}
	level, known := r.levels[pod.Namespace]
	d := r.Config.Decide(pod, member, injection.Facts{PodSecurity: level})
	if d.Reason != injection.Injected {
		return d
	}
	d.Detail = fmt.Sprintf("as %s of TidbCluster %s", member.Component, member.Cluster.Name)
	if resolve.Workload(pod) == "" {
		r.assume("%s: made by a StatefulSet or Deployment of TidbCluster %s; others get no agent", of, member.Cluster.Name)
	}
	if selector := labels.SelectorFromSet(tidbcluster.OperatorLabels()); !selector.Matches(labels.Set(pod.Labels)) {
		r.assume("%s: pods with the label %s; the API server does not ask the injector about others", of, selector)
	}
	if !known {
		r.assume("namespace %s lets in a container with NET_ADMIN (Pod Security)", pod.Namespace)
	}
	if member.OptIn.Native {
		r.assume("TiDB Operator is new enough for the native sidecar that TidbCluster %s asks for", member.Cluster.Name)
	}
	return d
}

// member returns the membership of a pod, by what the documents and options say. The error is
// tidbcluster.ErrNotMember.
func (r *renderer) member(pod *corev1.Pod) (tidbcluster.Membership, error) {
	name, component, err := r.claim(pod)
	if err != nil {
		return tidbcluster.Membership{}, err
	}
	m := tidbcluster.Membership{Cluster: types.NamespacedName{Namespace: pod.Namespace, Name: name}, Component: component}
	cluster, known := r.clusters[m.Cluster]
	switch {
	case !known:
		r.assume(`TidbCluster %s, whose UID is left empty here, asks for agents by %s: "true" alone`, m.Cluster, tidbcluster.InjectAnnotation)
		cluster.Annotations = map[string]string{tidbcluster.InjectAnnotation: "true"}
	case cluster.UID == "":
		r.assume("TidbCluster %s has a UID, which is left empty here", m.Cluster)
	}
	m.UID, m.OptIn, m.Deleting = cluster.UID, tidbcluster.ParseOptIn(cluster.Annotations), !cluster.DeletionTimestamp.IsZero()
	return m, nil
}

// claim returns what a pod claims to be: by the options, by the name of its workload and its
// label, or for a pod without a controller by its labels alone.
func (r *renderer) claim(pod *corev1.Pod) (cluster string, component tidbcluster.Component, err error) {
	if r.Cluster != "" && r.Component != "" {
		return r.Cluster, r.Component, nil
	}
	owner, workload := metav1.GetControllerOfNoCopy(pod), resolve.Workload(pod)
	if owner != nil && workload == "" {
		return "", "", fmt.Errorf("its controller is a %s: %w", owner.Kind, tidbcluster.ErrNotMember)
	}
	cluster = cmp.Or(r.Cluster, resolve.ClusterName(pod))
	if workload == "" {
		cluster = cmp.Or(cluster, pod.Labels[tidbcluster.InstanceLabel])
	}
	if cluster == "" {
		return "", "", fmt.Errorf("no name says of which TidbCluster and component it is; --cluster and --component do: %w", tidbcluster.ErrNotMember)
	}
	if r.Component != "" {
		return cluster, r.Component, nil
	}
	if workload != "" {
		component, err = resolve.ComponentOf(pod, cluster, workload)
		return cluster, component, err
	}
	if component, err = tidbcluster.ParseComponent(pod.Labels[tidbcluster.ComponentLabel]); err != nil {
		return "", "", fmt.Errorf("label %s: %w; --component says it too: %w", tidbcluster.ComponentLabel, err, tidbcluster.ErrNotMember)
	}
	return cluster, component, nil
}

// assume notes what is assumed.
func (r *renderer) assume(format string, args ...any) {
	note(&r.result.Assumed, fmt.Sprintf(format, args...))
}

// note adds a text that is not there yet.
func note(all *[]string, text string) {
	if !slices.Contains(*all, text) {
		*all = append(*all, text)
	}
}
