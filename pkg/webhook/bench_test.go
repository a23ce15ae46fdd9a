package webhook

import (
	"context"
	"encoding/json"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/time/rate"
	admissionv1 "k8s.io/api/admission/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"
	"sigs.k8s.io/yaml"
)

// BenchmarkInject is one admission of a TiDB pod, from the raw object to the
// encoded patch, without HTTP and with the owners already known.
func BenchmarkInject(b *testing.B) {
	var fixture any
	if err := yaml.Unmarshal([]byte(readFile(b, fixtures+"/tidb/in.yaml")), &fixture); err != nil {
		b.Fatal(err)
	}
	raw, err := json.Marshal(fixture)
	if err != nil {
		b.Fatal(err)
	}
	injector, err := New(Options{
		Decoder: admission.NewDecoder(clientgoscheme.Scheme), Gatherer: gathererOf(resolved(optedIn()), level{}),
		Pods: always{}, Limit: rate.NewLimiter(rate.Inf, 0), Events: &recorder{}, Metrics: prometheus.NewRegistry(),
	})
	if err != nil {
		b.Fatal(err)
	}
	request := admission.Request{AdmissionRequest: admissionv1.AdmissionRequest{
		UID: "b5a4", Namespace: "db", DryRun: new(true), Object: runtime.RawExtension{Raw: raw},
	}}
	b.ReportAllocs()
	for b.Loop() {
		response := injector.Handle(context.Background(), request)
		if err := response.Complete(request); err != nil || response.Patch == nil {
			b.Fatalf("%v: no patch", err)
		}
	}
}
