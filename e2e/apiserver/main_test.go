//go:build apiserver

package apiserver

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
)

// world is what TestMain started; every test works on it, one at a time.
var world *suite

// suite is one API server with the shipped manifests applied and one replica of the
// injector serving them. Tests that need the controller start it.
type suite struct {
	dir         string // scratch: kubeconfigs, logs, the audit log
	plane       *envtest.ControlPlane
	config      *rest.Config // cluster-admin
	client      client.Client
	pods        rest.Interface // core/v1, for requests with headers and raw bodies
	kubectl     kubectl
	audit       *auditLog
	network     *network
	binaries    map[string]string // by the name of the Deployment
	kubeconfigs map[string]string // as the shipped ServiceAccount, by its name
	injector    *replica
	bootstrap   bootstrap
}

// bootstrap is what was seen when the first replica started.
type bootstrap struct {
	caBundle   time.Duration // from exec to the CA in the webhook configuration
	withoutCRD error         // nil if /readyz missed the kind TidbCluster
	ready      time.Duration // from the CRD to /readyz
}

func TestMain(m *testing.M) {
	os.Exit(run(m))
}

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "apiserver")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	world = &suite{dir: dir, kubeconfigs: map[string]string{}}
	// Long enough to compile the programs on a cold and busy machine.
	ctx, cancel := context.WithTimeout(context.Background(), 15*time.Minute)
	defer cancel()
	code := 1
	if err := world.start(ctx); err != nil {
		world.printLogs(os.Stderr, "*.log")
		fmt.Fprintln(os.Stderr, err)
	} else if code = m.Run(); code != 0 {
		world.printLogs(os.Stderr, "tidelay-*.log")
	}
	if err := world.stop(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return code
}

// start brings the parts up: the cluster, Tidelay as the README installs it,
// and TiDB Operator's CRDs last, because any order must do.
func (s *suite) start(ctx context.Context) error {
	var err error
	if s.binaries, err = binaries(ctx, s.dir); err != nil {
		return err
	}
	if err := s.startControlPlane(); err != nil {
		return err
	}
	if err := s.kubectl.run(ctx, "apply", "-k", manifests); err != nil {
		return err
	}
	for name := range programs {
		if s.kubeconfigs[name], err = s.serviceAccountKubeconfig(ctx, name, s.config.Host, s.config.CAData); err != nil {
			return err
		}
	}
	return s.bootstrapInjector(ctx)
}

// bootstrapInjector starts the first replica on a cluster that has never had
// one: no CA Secret, no caBundle, not even the CRD of TidbCluster.
func (s *suite) bootstrapInjector(ctx context.Context) error {
	r, err := s.startReplica(ctx)
	if err != nil {
		return err
	}
	s.injector = r
	if err := r.until(ctx, func() error {
		_, err := s.caBundle(ctx)
		return err
	}); err != nil {
		return fmt.Errorf("wait for the caBundle: %w", err)
	}
	s.bootstrap.caBundle = time.Since(r.started)

	s.bootstrap.withoutCRD = poll(ctx, 10*time.Second, func() error {
		_, err := get(ctx, "http://"+r.health+"/readyz")
		if err == nil || !strings.Contains(err.Error(), "TidbCluster") {
			return fmt.Errorf("readyz does not miss the kind TidbCluster: %w", err)
		}
		return nil
	})
	crds, err := operatorCRDs(ctx)
	if err != nil {
		return err
	}
	// A client-side apply would not fit the CRDs into an annotation.
	if err := s.kubectl.run(ctx, "create", "-f", crds); err != nil {
		return err
	}
	installed := time.Now()
	if err := r.waitReady(ctx); err != nil {
		return err
	}
	s.bootstrap.ready = time.Since(installed)
	return s.serveFrom(ctx, r)
}

// serveFrom puts the replicas behind the shipped Service, and has the next call
// go to one of them.
func (s *suite) serveFrom(ctx context.Context, replicas ...*replica) error {
	if err := s.routeTo(ctx, replicas...); err != nil {
		return err
	}
	s.network.cut()
	return nil
}

// routeTo puts the replicas behind the shipped Service for new connections.
func (s *suite) routeTo(ctx context.Context, replicas ...*replica) error {
	service := &corev1.Service{}
	if err := s.client.Get(ctx, client.ObjectKey{Namespace: systemNamespace, Name: injectorName}, service); err != nil {
		return fmt.Errorf("get Service: %w", err)
	}
	port := strconv.Itoa(int(service.Spec.Ports[0].Port))
	s.network.route(net.JoinHostPort(service.Spec.ClusterIP, port), replicas...)
	return s.setEndpoints(ctx, len(replicas))
}

// setEndpoints writes the EndpointSlice of the shipped Service with a number of ready
// endpoints, as Kubernetes does. Their addresses mean nothing here.
func (s *suite) setEndpoints(ctx context.Context, ready int) error {
	slice := &discoveryv1.EndpointSlice{}
	slice.Namespace, slice.Name = systemNamespace, injectorName
	_, err := controllerutil.CreateOrUpdate(ctx, s.client, slice, func() error {
		slice.Labels = map[string]string{discoveryv1.LabelServiceName: injectorName}
		slice.AddressType, slice.Endpoints = discoveryv1.AddressTypeIPv4, nil
		for i := range ready {
			slice.Endpoints = append(slice.Endpoints, discoveryv1.Endpoint{
				Addresses: []string{fmt.Sprintf("10.0.0.%d", i+1)}, Conditions: discoveryv1.EndpointConditions{Ready: new(true)},
			})
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("write EndpointSlice: %w", err)
	}
	return nil
}

func (s *suite) stop() error {
	var errs []error
	if s.injector != nil {
		s.injector.kill()
	}
	if s.network != nil {
		errs = append(errs, s.network.Close())
	}
	if s.plane != nil {
		errs = append(errs, s.plane.Stop())
	}
	return errors.Join(append(errs, os.RemoveAll(s.dir))...)
}

// printLogs writes the end of each log that matches the pattern.
func (s *suite) printLogs(out io.Writer, pattern string) {
	logs, _ := filepath.Glob(filepath.Join(s.dir, pattern))
	for _, name := range logs {
		text, err := os.ReadFile(name)
		if err != nil {
			continue
		}
		const tail = 8 << 10
		fmt.Fprintln(out, "====", filepath.Base(name))
		fmt.Fprintln(out, string(text[max(0, len(text)-tail):]))
	}
}
