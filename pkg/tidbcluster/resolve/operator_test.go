package resolve

import (
	"errors"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

func discoveryOf(image string) *appsv1.Deployment {
	d := &appsv1.Deployment{}
	d.Namespace, d.Name = "db", "basic-discovery"
	d.Spec.Template.Spec.Containers = []corev1.Container{{Name: "istio-proxy", Image: "istio/proxyv2:1.24.0"}, {Name: "discovery", Image: image}}
	return d
}

func TestOperatorVersion(t *testing.T) {
	tests := map[string]struct {
		image string // of the discovery service; "" for no such Deployment
		want  string
	}{
		"if the tag is a version, it":             {image: "pingcap/tidb-operator:v1.6.0", want: "v1.6.0"},
		"if there is a registry with a port, too": {image: "registry:5000/pingcap/tidb-operator:v1.5.3", want: "v1.5.3"},
		"if there is a digest, the tag":           {image: "pingcap/tidb-operator:v1.6.1@sha256:0123", want: "v1.6.1"},
		"if the tag is no version, it too":        {image: "pingcap/tidb-operator:nightly", want: "nightly"},
		"if there is no tag, nothing":             {image: "registry:5000/pingcap/tidb-operator"},
		"if there is no discovery, nothing":       {},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			w := world{}
			if test.image != "" {
				w.server = append(w.server, discoveryOf(test.image))
			}
			resolver, _ := w.resolver(t)
			got, err := resolver.OperatorVersion(t.Context(), memberPD.Cluster)
			if err != nil {
				t.Fatal(err)
			}
			if got != test.want {
				t.Errorf("version %q, want %q", got, test.want)
			}
		})
	}
}

func TestOperatorVersionUnread(t *testing.T) {
	resolver, _ := world{cached: []client.Object{}, liveErr: errUnanswered}.resolver(t)
	if got, err := resolver.OperatorVersion(t.Context(), memberPD.Cluster); !errors.Is(err, errUnanswered) {
		t.Errorf("got %q, %v; want %v", got, err, errUnanswered)
	}
}
