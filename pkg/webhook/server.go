package webhook

import (
	"net/http"

	"github.com/go-logr/logr"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"
)

// Path is where the webhook is served.
const Path = "/inject"

// Handler serves i over HTTP: AdmissionReview in, AdmissionReview out. Each of wrap is put
// around it, and sees requests whose context ends when the answer is due.
func (i *Injector) Handler(wrap ...func(http.Handler) http.Handler) http.Handler {
	var handler http.Handler = &admission.Webhook{
		Handler: i,
		LogConstructor: func(base logr.Logger, req *admission.Request) logr.Logger {
			if req == nil {
				return base
			}
			return base.WithValues("namespace", req.Namespace, "request", req.UID)
		},
	}
	for _, w := range wrap {
		handler = w(handler)
	}
	return withDeadline(handler)
}
