package bench

import (
	"crypto/tls"
	"crypto/x509"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tidelay/tidelay/pkg/cabundle"
)

// Trust is how the API server checks the injector's certificate.
func (f *Fleet) Trust() *tls.Config {
	pool := x509.NewCertPool()
	pool.AddCert(f.CA.Certificate)
	return &tls.Config{RootCAs: pool, ServerName: WebhookName + "." + SystemNamespace + ".svc", MinVersion: tls.VersionTLS12}
}

// secret has the CA.
func (f *Fleet) secret() object {
	meta := metav1.ObjectMeta{Name: WebhookName + "-ca", Namespace: SystemNamespace, UID: uid("Secret", "ca"), ResourceVersion: "1"}
	certificate := cabundle.Encode(f.CA.Certificate)
	return object{meta: meta, full: func(t metav1.TypeMeta, m metav1.ObjectMeta) any {
		return corev1.Secret{TypeMeta: t, ObjectMeta: m, Type: corev1.SecretTypeTLS, Data: map[string][]byte{
			"ca.crt": certificate, corev1.TLSCertKey: certificate, corev1.TLSPrivateKeyKey: f.CA.KeyPEM,
		}}
	}}
}

// webhook has the CA in its caBundle already.
func (f *Fleet) webhook() object {
	meta := metav1.ObjectMeta{Name: WebhookName, UID: uid("Webhook", WebhookName), ResourceVersion: "1"}
	return object{meta: meta, full: func(t metav1.TypeMeta, m metav1.ObjectMeta) any {
		return admissionregistrationv1.MutatingWebhookConfiguration{TypeMeta: t, ObjectMeta: m, Webhooks: []admissionregistrationv1.MutatingWebhook{
			{Name: "inject.tidelay.io", ClientConfig: admissionregistrationv1.WebhookClientConfig{CABundle: cabundle.Encode(f.CA.Certificate)}},
		}}
	}}
}
