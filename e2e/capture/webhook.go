package main

import (
	"cmp"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"time"

	admissionv1 "k8s.io/api/admission/v1"
	registrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/util/cert"
	"sigs.k8s.io/yaml"
)

// listen serves a webhook that lets every pod pass and passes it on, until ctx
// ends. It returns the pods and the webhook's registration.
func listen(ctx context.Context, host string) (<-chan *unstructured.Unstructured, *registrationv1.MutatingWebhookConfiguration, error) {
	ca, key, err := cert.GenerateSelfSignedCertKey(host, nil, nil)
	if err != nil {
		return nil, nil, fmt.Errorf("make certificate: %w", err)
	}
	pair, err := tls.X509KeyPair(ca, key)
	if err != nil {
		return nil, nil, fmt.Errorf("load certificate: %w", err)
	}
	listener, err := tls.Listen("tcp", net.JoinHostPort(host, "0"), &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12})
	if err != nil {
		return nil, nil, fmt.Errorf("listen: %w", err)
	}
	pods := make(chan *unstructured.Unstructured)
	server := &http.Server{Handler: passOn(ctx, pods), ReadHeaderTimeout: 10 * time.Second}
	go func() { _ = server.Serve(listener) }() // ends with ctx
	context.AfterFunc(ctx, func() { _ = server.Close() })
	return pods, registration("https://"+listener.Addr().String(), ca), nil
}

// registration asks for the pods of the namespace db. A pod that did not come
// by here must not be: the next one would not be the component's first.
func registration(url string, ca []byte) *registrationv1.MutatingWebhookConfiguration {
	return &registrationv1.MutatingWebhookConfiguration{
		ObjectMeta: metav1.ObjectMeta{Name: "capture"},
		Webhooks: []registrationv1.MutatingWebhook{{
			Name:                    "capture.tidelay.io",
			ClientConfig:            registrationv1.WebhookClientConfig{URL: &url, CABundle: ca},
			NamespaceSelector:       &metav1.LabelSelector{MatchLabels: map[string]string{corev1.LabelMetadataName: "db"}},
			FailurePolicy:           new(registrationv1.Fail),
			SideEffects:             new(registrationv1.SideEffectClassNone),
			AdmissionReviewVersions: []string{"v1"},
			Rules: []registrationv1.RuleWithOperations{{
				Operations: []registrationv1.OperationType{registrationv1.Create},
				Rule:       registrationv1.Rule{APIGroups: []string{""}, APIVersions: []string{"v1"}, Resources: []string{"pods"}},
			}},
		}},
	}
}

func passOn(ctx context.Context, pods chan<- *unstructured.Unstructured) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var review admissionv1.AdmissionReview
		pod := &unstructured.Unstructured{}
		err := json.NewDecoder(r.Body).Decode(&review)
		if err == nil {
			err = json.Unmarshal(review.Request.Object.Raw, pod)
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		review.Response = &admissionv1.AdmissionResponse{UID: review.Request.UID, Allowed: true}
		review.Request = nil
		if err := json.NewEncoder(w).Encode(review); err != nil {
			slog.Warn("write answer", "error", err)
		}
		select {
		case pods <- pod:
		case <-ctx.Done():
		}
	}
}

// write writes the first pod of each of the components, under header.
func write(ctx context.Context, pods <-chan *unstructured.Unstructured, out, header string, components []string) error {
	components = slices.Clone(components)
	for len(components) > 0 {
		var pod *unstructured.Unstructured
		select {
		case pod = <-pods:
		case <-ctx.Done():
			return fmt.Errorf("wait for pods of %v: %w", components, ctx.Err())
		}
		component := pod.GetLabels()["app.kubernetes.io/component"]
		slog.Info("seen", "pod", cmp.Or(pod.GetName(), pod.GetGenerateName()), "component", component)
		i := slices.Index(components, component)
		if i < 0 {
			continue
		}
		components = slices.Delete(components, i, i+1)
		pod.SetManagedFields(nil) // long, and nothing of it reaches a decision
		content, err := yaml.Marshal(pod)
		if err != nil {
			return fmt.Errorf("encode pod: %w", err)
		}
		file := filepath.Join(out, component, "in.yaml")
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			return fmt.Errorf("make folder: %w", err)
		}
		if err := os.WriteFile(file, append([]byte(header), content...), 0o644); err != nil {
			return fmt.Errorf("write pod: %w", err)
		}
	}
	return nil
}
