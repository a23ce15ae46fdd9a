package bench

import (
	"fmt"
	"strconv"
	"strings"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
)

// SystemNamespace is where the injector runs.
const SystemNamespace = "tidelay-system"

// WebhookName names the injector's MutatingWebhookConfiguration.
const WebhookName = "tidelay-injector"

// perNamespace is how many TidbClusters share a namespace.
const perNamespace = 10

// workloads are the StatefulSets that a TidbCluster may have, in the order in
// which it has them. Those of its monitors belong to no TidbCluster. late is one
// more that a get finds and no watch has told of.
const (
	workloads = "pd tikv tidb monitor tiflash ticdc tiproxy pump tso ng-monitoring"
	late      = "scheduling"
)

// kind is one kind of object that a Fleet has.
type kind struct {
	schema.GroupVersionKind
	resource   string
	namespaced bool
	// count is how many a watch tells of, and at makes one of them.
	count int
	at    func(i int) object
	// get makes the one of that name, and is nil where there is only one.
	get func(key types.NamespacedName) (object, bool)
}

// object is an object of the API: its metadata, and what makes it whole.
type object struct {
	meta metav1.ObjectMeta
	full func(metav1.TypeMeta, metav1.ObjectMeta) any
}

func clusterName(i int) string { return "tc" + strconv.Itoa(i) }
func namespaceOf(i int) string { return "db" + strconv.Itoa(i/perNamespace) }

// optedIn says that every other TidbCluster is.
func optedIn(i int) bool { return i%2 == 0 }

// uid is an object's UID, as long as a real one.
func uid(kind, name string) types.UID {
	return types.UID(fmt.Sprintf("%08x-0000-4000-8000-%012x", hash(kind), hash(name)))
}

func hash(s string) uint32 {
	h := uint32(2166136261)
	for i := range len(s) {
		h = (h ^ uint32(s[i])) * 16777619
	}
	return h
}

// reference makes a controller owner reference.
func reference(apiVersion, kind, name string) metav1.OwnerReference {
	return metav1.OwnerReference{
		APIVersion: apiVersion, Kind: kind, Name: name, UID: uid(kind, name),
		Controller: new(true), BlockOwnerDeletion: new(true),
	}
}

// ownerOf is what controls a workload of TidbCluster i.
func ownerOf(i int, workload string) metav1.OwnerReference {
	switch workload {
	case "monitor":
		return reference("pingcap.com/v1alpha1", "TidbMonitor", clusterName(i))
	case "ng-monitoring":
		return reference("pingcap.com/v1alpha1", "TidbNGMonitoring", clusterName(i))
	default:
		return reference("pingcap.com/v1alpha1", "TidbCluster", clusterName(i))
	}
}

// metadata is what an API server has of an object that TiDB Operator made:
// labels, its last configuration as an annotation, and managed fields.
func metadata(kind string, i int, workload, name string, owner metav1.OwnerReference) metav1.ObjectMeta {
	return metav1.ObjectMeta{
		Name: name, Namespace: namespaceOf(i), UID: uid(kind, name), ResourceVersion: strconv.Itoa(1000000 + i), Generation: 1,
		Labels: map[string]string{
			"app.kubernetes.io/component": workload, "app.kubernetes.io/instance": clusterName(i),
			"app.kubernetes.io/managed-by": "tidb-operator", "app.kubernetes.io/name": "tidb-cluster",
		},
		Annotations: map[string]string{
			"pingcap.com/last-applied-configuration": `{"replicas":3,"template":"` + strings.Repeat("x", 3000) + `"}`,
		},
		OwnerReferences: []metav1.OwnerReference{owner},
		ManagedFields:   managedFields("tidb-controller-manager", 2500),
	}
}

func managedFields(manager string, size int) []metav1.ManagedFieldsEntry {
	fields := `{"f:metadata":{"f:labels":{".":{}}},"f:spec":{"f:` + strings.Repeat("x", size) + `":{}}}`
	return []metav1.ManagedFieldsEntry{
		{Manager: manager, Operation: "Update", APIVersion: "apps/v1", FieldsType: "FieldsV1", FieldsV1: metav1.NewFieldsV1(fields)},
	}
}

func (f *Fleet) kinds() []kind {
	sets, revisions := strings.Fields(workloads)[:f.StatefulSets], f.ReplicaSets
	return []kind{
		{
			GroupVersionKind: schema.GroupVersionKind{Group: "pingcap.com", Version: "v1alpha1", Kind: "TidbCluster"},
			resource:         "tidbclusters", namespaced: true, count: f.Clusters, at: tidbCluster,
			get: func(key types.NamespacedName) (object, bool) {
				i, err := strconv.Atoi(strings.TrimPrefix(key.Name, "tc"))
				return tidbCluster(i), err == nil && i < f.Clusters && key.Namespace == namespaceOf(i)
			},
		},
		{
			GroupVersionKind: schema.GroupVersionKind{Group: "apps", Version: "v1", Kind: "StatefulSet"},
			resource:         "statefulsets", namespaced: true, count: f.Clusters * len(sets),
			at: func(i int) object { return statefulSet(i/len(sets), sets[i%len(sets)]) },
			get: func(key types.NamespacedName) (object, bool) {
				cluster, workload, _ := strings.Cut(strings.TrimPrefix(key.Name, "tc"), "-")
				i, err := strconv.Atoi(cluster)
				return statefulSet(i, workload), err == nil && workload == late
			},
		},
		{
			GroupVersionKind: schema.GroupVersionKind{Group: "apps", Version: "v1", Kind: "ReplicaSet"},
			resource:         "replicasets", namespaced: true, count: f.Clusters * revisions,
			at: func(i int) object {
				deployment := clusterName(i/revisions) + "-discovery"
				name := fmt.Sprintf("%s-%010x", deployment, i%revisions)
				return object{meta: metadata("ReplicaSet", i/revisions, "discovery", name, reference("apps/v1", "Deployment", deployment))}
			},
		},
		{
			GroupVersionKind: schema.GroupVersionKind{Group: "apps", Version: "v1", Kind: "Deployment"},
			resource:         "deployments", namespaced: true, count: f.Clusters,
			at: func(i int) object {
				return object{meta: metadata("Deployment", i, "discovery", clusterName(i)+"-discovery", ownerOf(i, "discovery"))}
			},
		},
		{
			GroupVersionKind: corev1.SchemeGroupVersion.WithKind("Namespace"),
			resource:         "namespaces", count: (f.Clusters + perNamespace - 1) / perNamespace,
			at: func(i int) object {
				return object{meta: metav1.ObjectMeta{Name: namespaceOf(i * perNamespace), UID: uid("Namespace", strconv.Itoa(i)), ResourceVersion: "1"}}
			},
		},
		{ // none that is asked for is made
			GroupVersionKind: corev1.SchemeGroupVersion.WithKind("Pod"),
			resource:         "pods", namespaced: true, at: func(int) object { return object{} },
			get: func(types.NamespacedName) (object, bool) { return object{}, false },
		},
		{
			GroupVersionKind: corev1.SchemeGroupVersion.WithKind("Secret"),
			resource:         "secrets", namespaced: true, count: 1, at: func(int) object { return f.secret() },
		},
		{
			GroupVersionKind: admissionregistrationv1.SchemeGroupVersion.WithKind("MutatingWebhookConfiguration"),
			resource:         "mutatingwebhookconfigurations", count: 1, at: func(int) object { return f.webhook() },
		},
	}
}

func statefulSet(i int, workload string) object {
	return object{meta: metadata("StatefulSet", i, workload, clusterName(i)+"-"+workload, ownerOf(i, workload))}
}

// tidbCluster makes one of about 12 KB, as kubectl apply and the operator leave
// it: half of it is told twice.
func tidbCluster(i int) object {
	meta := metadata("TidbCluster", i, "", clusterName(i), metav1.OwnerReference{})
	meta.OwnerReferences, meta.Labels = nil, nil
	meta.Annotations = map[string]string{"kubectl.kubernetes.io/last-applied-configuration": `{"spec":"` + strings.Repeat("x", 3000) + `"}`}
	if optedIn(i) {
		meta.Annotations["tidelay.io/inject"] = "true"
	}
	return object{meta: meta, full: func(t metav1.TypeMeta, m metav1.ObjectMeta) any {
		var config strings.Builder // TOML: no key twice
		for n := range 60 {
			fmt.Fprintf(&config, "key%d = \"value\"\n", n)
		}
		spec, stores := map[string]any{"version": "v8.5.0", "timezone": "UTC", "pvReclaimPolicy": "Retain"}, map[string]any{}
		for _, component := range []string{"pd", "tikv", "tidb"} {
			spec[component] = map[string]any{
				"baseImage": "pingcap/" + component, "replicas": 3, "config": config.String(),
				"requests": map[string]any{"cpu": "4", "memory": "16Gi", "storage": "1Ti"}, "limits": map[string]any{"cpu": "8", "memory": "32Gi"},
			}
		}
		for n := range 3 {
			pod := fmt.Sprintf("%s-tikv-%d", m.Name, n)
			stores[strconv.Itoa(n)] = map[string]any{
				"id": strconv.Itoa(n), "podName": pod, "ip": pod + "." + m.Name + "-tikv-peer." + m.Namespace + ".svc",
				"leaderCount": 1000, "state": "Up", "lastTransitionTime": "2026-01-01T00:00:00Z",
			}
		}
		status := map[string]any{"clusterID": "7123456789012345678", "tikv": map[string]any{"synced": true, "phase": "Normal", "stores": stores}}
		return map[string]any{"apiVersion": t.APIVersion, "kind": t.Kind, "metadata": m, "spec": spec, "status": status}
	}}
}
