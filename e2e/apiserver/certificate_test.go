//go:build apiserver

package apiserver

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// serverName is whom the API server expects behind the Service.
const serverName = injectorName + "." + systemNamespace + ".svc"

// caBundle returns the CA in the shipped webhook configuration.
func (s *suite) caBundle(ctx context.Context) ([]byte, error) {
	configuration := &admissionregistrationv1.MutatingWebhookConfiguration{}
	if err := s.client.Get(ctx, client.ObjectKey{Name: configurationName}, configuration); err != nil {
		return nil, err
	}
	bundle := configuration.Webhooks[0].ClientConfig.CABundle
	if len(bundle) == 0 {
		return nil, errors.New("the webhook configuration has no caBundle")
	}
	return bundle, nil
}

// trust returns the TLS settings of a client that believes in the caBundle as
// the API server does.
func (s *suite) trust(ctx context.Context) (*tls.Config, error) {
	bundle, err := s.caBundle(ctx)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(bundle) {
		return nil, fmt.Errorf("the caBundle holds no certificate: %q", bundle)
	}
	return &tls.Config{RootCAs: roots, ServerName: serverName, MinVersion: tls.VersionTLS12}, nil
}

// certificate returns what the replica serves, once verified by the caBundle.
func (r *replica) certificate(ctx context.Context) (*x509.Certificate, error) {
	config, err := world.trust(ctx)
	if err != nil {
		return nil, err
	}
	conn, err := (&tls.Dialer{Config: config}).DialContext(ctx, "tcp", r.webhook)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	return conn.(*tls.Conn).ConnectionState().PeerCertificates[0], nil
}

func TestBootstrap(t *testing.T) {
	b := world.bootstrap
	t.Logf("certificate made and CA registered in %s; ready %s after the CRDs", b.caBundle, b.ready)
	if b.caBundle > 10*time.Second {
		t.Errorf("the CA was registered %s after the start, want at most 10s", b.caBundle)
	}
	must(t, b.withoutCRD)
	_, err := world.injector.certificate(t.Context())
	must(t, err)
}

func TestCABundleIsRepaired(t *testing.T) {
	before, err := world.caBundle(t.Context())
	must(t, err)

	// Applying the manifests again leaves the field alone.
	must(t, world.kubectl.run(t.Context(), "apply", "-k", manifests))
	after, err := world.caBundle(t.Context())
	must(t, err)
	if !bytes.Equal(before, after) {
		t.Error("applying the manifests again changed the caBundle")
	}

	// Replacing empties it, and so does deleting and creating.
	for _, force := range []string{"--force=false", "--force"} {
		emptied := time.Now()
		must(t, world.kubectl.run(t.Context(), "replace", force, "-f", manifests+"/injector/webhook.yaml"))
		eventually(t, 10*time.Second, func() error {
			_, err := world.caBundle(t.Context())
			return err
		})
		t.Logf("caBundle repaired within %s of kubectl replace %s", time.Since(emptied), force)
		eventuallyInjects(t)
	}
}

// Deleting the CA makes a new one. Pods are admitted all the while, and are
// injected again without anybody's help.
func TestCAIsReplaced(t *testing.T) {
	before, err := world.caBundle(t.Context())
	must(t, err)
	must(t, world.client.Delete(t.Context(), caSecret()))
	eventually(t, time.Minute, func() error {
		after, err := world.caBundle(t.Context())
		if err == nil && bytes.Equal(before, after) {
			err = errors.New("the caBundle is still the old CA")
		}
		if err != nil {
			return err
		}
		_, err = world.injector.certificate(t.Context())
		return err
	})
	eventuallyInjects(t)
}

// Two replicas that start at once on a fresh cluster agree on one CA.
func TestTwoReplicas(t *testing.T) {
	world.injector.kill()
	must(t, world.client.Delete(t.Context(), caSecret()))
	must(t, world.kubectl.run(t.Context(), "replace", "-f", manifests+"/injector/webhook.yaml"))

	started := time.Now()
	replicas := []*replica{newReplica(t), newReplica(t)}
	world.injector = replicas[0]
	for _, r := range replicas {
		must(t, r.waitReady(t.Context()))
	}
	t.Logf("two replicas ready in %s from nothing", time.Since(started))

	var serials []string
	for _, r := range replicas {
		certificate, err := r.certificate(t.Context())
		must(t, err)
		serials = append(serials, certificate.SerialNumber.String())
	}
	if serials[0] == serials[1] {
		t.Error("the replicas share a serving certificate, and so a private key")
	}

	// The API server accepts both.
	for _, r := range replicas {
		world.injector = r
		must(t, world.serveFrom(t.Context(), r))
		eventuallyInjects(t)
	}
	replicas[0].kill()
}

func caSecret() *corev1.Secret {
	secret := &corev1.Secret{}
	secret.Namespace, secret.Name = systemNamespace, caSecretName
	return secret
}

// eventuallyInjects waits until the API server's informers know the webhook
// configuration as it is now, that is until a pod is injected.
func eventuallyInjects(t *testing.T) {
	t.Helper()
	n := newNamespace(t)
	pod := n.pod("basic-pd-0", "pd", n.statefulSet("basic-pd", n.cluster("basic", optedIn())))
	eventually(t, 10*time.Second, func() error {
		if stored, _ := n.post(pod, dryRun); agents(stored) != 1 {
			return errors.New("a pod was not injected")
		}
		return nil
	})
}

// While the CA is replaced no pod is missed: the API server trusts both, and
// the injector goes on with its old certificate until it does.
func TestRotationMissesNoPod(t *testing.T) {
	old, err := world.injector.certificate(t.Context())
	must(t, err)
	n := newNamespace(t)
	pod := n.pod("basic-pd-0", "pd", n.statefulSet("basic-pd", n.cluster("basic", optedIn())))
	must(t, world.client.Delete(t.Context(), caSecret()))
	rotated, asked := time.Now(), 0
	var served *x509.Certificate
	// Some more after the new one is served.
	for after := 0; after < 50; {
		asked++
		if stored, _ := n.post(pod, dryRun); agents(stored) != 1 {
			t.Fatalf("pod %d, %s after the CA was deleted, was missed", asked, time.Since(rotated))
		}
		served, err = world.injector.certificate(t.Context())
		must(t, err) // a new connection, by the caBundle of now
		switch {
		case !served.Equal(old):
			after++
		case time.Since(rotated) > time.Minute:
			t.Fatal("the new CA is not in use after a minute")
		}
	}
	bundle, err := world.caBundle(t.Context())
	must(t, err)
	t.Logf("%d pods in %s, none missed; the caBundle has %d CAs", asked, time.Since(rotated), bytes.Count(bundle, []byte("BEGIN")))
	if bytes.Count(bundle, []byte("BEGIN")) < 2 {
		t.Error("the caBundle has no CA but the new one")
	}
}

// A Secret with something else than a CA, which nobody can change, leaves the CA in
// force: both replicas go on injecting. One that starts meanwhile says what is wrong.
// When the Secret is deleted, all is as before.
func TestGarbageInsteadOfACA(t *testing.T) {
	second := newReplica(t)
	must(t, second.waitReady(t.Context()))
	eventuallyInjects(t)
	before, err := world.caBundle(t.Context())
	must(t, err)
	secret := caSecret()
	must(t, world.client.Get(t.Context(), client.ObjectKeyFromObject(secret), secret))
	secret.Data[corev1.ServiceAccountRootCAKey], secret.Immutable = []byte("garbage"), new(true)
	must(t, world.client.Update(t.Context(), secret))
	t.Cleanup(func() { must(t, client.IgnoreNotFound(world.client.Delete(context.Background(), caSecret()))) })

	first := world.injector
	replicas := []*replica{first, second}
	for _, r := range replicas {
		eventually(t, 10*time.Second, func() error {
			if metrics := r.scrape(t, "tidelay_ca_usable"); len(metrics) != 1 || metrics[0].GetGauge().GetValue() != 0 {
				return fmt.Errorf("tidelay_ca_usable is %v, want 0", metrics)
			}
			return nil
		})
	}
	n := newNamespace(t)
	pod := n.pod("basic-pd-0", "pd", n.statefulSet("basic-pd", n.cluster("basic", optedIn())))
	for _, r := range replicas {
		must(t, world.serveFrom(t.Context(), r))
		for range 20 {
			if stored, _ := n.post(pod, dryRun); agents(stored) != 1 {
				t.Fatal("a pod was not injected")
			}
		}
		_, err := get(t.Context(), "http://"+r.health+"/readyz")
		must(t, err)
	}
	must(t, world.serveFrom(t.Context(), first))
	if after, err := world.caBundle(t.Context()); err != nil || !bytes.Equal(before, after) {
		t.Errorf("the caBundle changed to %q (%v)", after, err)
	}
	system := namespace{t: t, name: systemNamespace}
	if event := system.eventOn("ca.crt: no certificate in it can be read"); event.Type != corev1.EventTypeWarning || event.Regarding.Name != caSecretName {
		t.Errorf("Event %s about %s", event.Type, event.Regarding.Name)
	}

	third := newReplica(t)
	want := "no serving certificate can be made: secret " + systemNamespace + "/" + caSecretName + ": ca.crt: no certificate in it can be read"
	must(t, third.until(t.Context(), func() error {
		if _, err := get(t.Context(), "http://"+third.health+"/readyz"); err == nil || !strings.Contains(err.Error(), want) {
			return fmt.Errorf("readyz: %w, want %q", err, want)
		}
		return nil
	}))
	must(t, world.client.Delete(t.Context(), caSecret()))
	must(t, third.waitReady(t.Context()))
	eventuallyInjects(t)
}

// A replica whose CA is not in the caBundle is not ready, and is again when it is.
func TestReadinessFollowsTheTrust(t *testing.T) {
	config := &admissionregistrationv1.MutatingWebhookConfiguration{}
	config.Name = configurationName
	must(t, world.client.Delete(t.Context(), config))
	defer func() {
		must(t, world.kubectl.run(t.Context(), "apply", "-f", manifests+"/injector/webhook.yaml"))
		eventuallyInjects(t)
	}()
	eventually(t, 10*time.Second, func() error {
		if _, err := get(t.Context(), "http://"+world.injector.health+"/readyz"); err == nil || !strings.Contains(err.Error(), "there is no MutatingWebhookConfiguration "+configurationName) {
			return fmt.Errorf("readyz: %w, want that there is no configuration", err)
		}
		return nil
	})
	must(t, world.kubectl.run(t.Context(), "apply", "-f", manifests+"/injector/webhook.yaml"))
	must(t, world.injector.waitReady(t.Context()))
}
