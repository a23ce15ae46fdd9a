package bench

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"time"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// CA is the injector's, made before it starts, so that it need write nothing.
type CA struct {
	certificate, key []byte // PEM
}

// NewCA returns a CA for a year.
func NewCA() (*CA, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make key: %w", err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: WebhookName + "-ca"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().AddDate(1, 0, 0),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("sign CA: %w", err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("encode key: %w", err)
	}
	return &CA{
		certificate: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		key:         pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}),
	}, nil
}

// Trust is how the API server checks the injector's certificate.
func (ca *CA) Trust() *tls.Config {
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(ca.certificate)
	return &tls.Config{RootCAs: pool, ServerName: WebhookName + "." + SystemNamespace + ".svc", MinVersion: tls.VersionTLS12}
}

// secret has the CA.
func (f *Fleet) secret() object {
	meta := metav1.ObjectMeta{Name: WebhookName + "-ca", Namespace: SystemNamespace, UID: uid("Secret", "ca"), ResourceVersion: "1"}
	return object{meta: meta, full: func(t metav1.TypeMeta, m metav1.ObjectMeta) any {
		return corev1.Secret{TypeMeta: t, ObjectMeta: m, Type: corev1.SecretTypeTLS, Data: map[string][]byte{
			"ca.crt": f.CA.certificate, corev1.TLSCertKey: f.CA.certificate, corev1.TLSPrivateKeyKey: f.CA.key,
		}}
	}}
}

// webhook has the CA in its caBundle already.
func (f *Fleet) webhook() object {
	meta := metav1.ObjectMeta{Name: WebhookName, UID: uid("Webhook", WebhookName), ResourceVersion: "1"}
	return object{meta: meta, full: func(t metav1.TypeMeta, m metav1.ObjectMeta) any {
		return admissionregistrationv1.MutatingWebhookConfiguration{TypeMeta: t, ObjectMeta: m, Webhooks: []admissionregistrationv1.MutatingWebhook{
			{Name: "inject.tidelay.io", ClientConfig: admissionregistrationv1.WebhookClientConfig{CABundle: f.CA.certificate}},
		}}
	}}
}
