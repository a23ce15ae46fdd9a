package webhook

import (
	"net/http"

	"github.com/go-logr/logr"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"
)

// Path is where the webhook is served.
const Path = "/inject"

// Handler serves i over HTTP: AdmissionReview in, AdmissionReview out.
func (i *Injector) Handler() http.Handler {
	return withDeadline(&admission.Webhook{
		Handler: i,
		LogConstructor: func(base logr.Logger, req *admission.Request) logr.Logger {
			if req == nil {
				return base
			}
			return base.WithValues("namespace", req.Namespace, "request", req.UID)
		},
	})
}
