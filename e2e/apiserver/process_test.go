//go:build apiserver

package apiserver

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// process is a running injector or controller. Addresses are host:port on loopback.
type process struct {
	name            string // of its Deployment
	health, metrics string
	started         time.Time
	cmd             *exec.Cmd
	exited          chan struct{} // closed when the process has ended
}

// programs are the programs under test, by the names of their Deployments: the
// variable with a binary that is built already, and the package to build it from.
var programs = map[string]struct{ env, source string }{
	injectorName:   {"TIDELAY_INJECTOR", "./cmd/injector"},
	controllerName: {"TIDELAY_CONTROLLER", "./cmd/controller"},
}

// binaries returns the programs' binaries by the names of their Deployments, and
// builds into dir those that no variable names.
func binaries(ctx context.Context, dir string) (map[string]string, error) {
	paths := map[string]string{}
	for name, program := range programs {
		if path := os.Getenv(program.env); path != "" {
			absolute, err := filepath.Abs(path)
			if err != nil {
				return nil, err
			}
			paths[name] = absolute
			continue
		}
		paths[name] = filepath.Join(dir, name)
		build := exec.CommandContext(ctx, "go", "build", "-o", paths[name], program.source)
		build.Dir = root
		if out, err := build.CombinedOutput(); err != nil {
			return nil, fmt.Errorf("build %s: %w\n%s", name, err, out)
		}
	}
	return paths, nil
}

// serviceAccountKubeconfig writes a kubeconfig for an API server at a URL with a
// certificate of ca, and a token of a shipped ServiceAccount: the program that uses
// it can do what the shipped RBAC allows it and no more.
func (s *suite) serviceAccountKubeconfig(ctx context.Context, name, url string, ca []byte) (string, error) {
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: systemNamespace, Name: name}}
	token := &authenticationv1.TokenRequest{}
	if err := s.client.SubResource("token").Create(ctx, account, token); err != nil {
		return "", fmt.Errorf("request a token for %s: %w", account.Name, err)
	}
	config := clientcmdapi.NewConfig()
	config.Clusters["c"] = &clientcmdapi.Cluster{Server: url, CertificateAuthorityData: ca}
	config.AuthInfos["u"] = &clientcmdapi.AuthInfo{Token: token.Status.Token}
	config.Contexts["x"] = &clientcmdapi.Context{Cluster: "c", AuthInfo: "u"}
	config.CurrentContext = "x"
	path := filepath.Join(s.dir, fmt.Sprintf("%s-%x.kubeconfig", name, url))
	if err := clientcmd.WriteToFile(*config, path); err != nil {
		return "", fmt.Errorf("write kubeconfig: %w", err)
	}
	return path, nil
}

// startProcess starts a process as a shipped Deployment would, but for its addresses
// and credentials, and flags that are added. It returns before the process is ready.
func (s *suite) startProcess(ctx context.Context, name string, flags ...string) (*process, error) {
	deployment := &appsv1.Deployment{}
	if err := s.client.Get(ctx, client.ObjectKey{Namespace: systemNamespace, Name: name}, deployment); err != nil {
		return nil, fmt.Errorf("get Deployment: %w", err)
	}
	spec := deployment.Spec.Template.Spec
	if spec.ServiceAccountName != name {
		return nil, fmt.Errorf("the Deployment %s runs as %q", name, spec.ServiceAccountName)
	}
	args, env := commandLine(&spec.Containers[0])
	config, err := s.mountConfig(ctx, spec.Volumes[0].ConfigMap.Name)
	if err != nil {
		return nil, err
	}
	addresses, err := freeAddresses(2)
	if err != nil {
		return nil, err
	}
	p := &process{name: name, health: addresses[0], metrics: addresses[1], exited: make(chan struct{})}
	args = append(args, "--kubeconfig="+s.kubeconfigs[name], "--config="+config, "--health-addr="+p.health, "--metrics-addr="+p.metrics)
	args = append(args, flags...)

	log, err := os.CreateTemp(s.dir, name+"-*.log")
	if err != nil {
		return nil, fmt.Errorf("create log: %w", err)
	}
	defer log.Close()
	p.cmd = exec.Command(s.binaries[name], args...)
	p.cmd.Env, p.cmd.Stdout, p.cmd.Stderr = env, log, log
	p.started = time.Now()
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	go func() {
		_ = p.cmd.Wait()
		close(p.exited)
	}()
	return p, nil
}

// mountConfig writes a shipped ConfigMap to where a process can read it, at once as
// kubelet does, and returns the file's path.
func (s *suite) mountConfig(ctx context.Context, name string) (string, error) {
	config := &corev1.ConfigMap{}
	if err := s.client.Get(ctx, client.ObjectKey{Namespace: systemNamespace, Name: name}, config); err != nil {
		return "", fmt.Errorf("get ConfigMap: %w", err)
	}
	path := filepath.Join(s.dir, "config.yaml")
	next, err := os.CreateTemp(s.dir, "next-*.yaml")
	if err != nil {
		return "", fmt.Errorf("write configuration: %w", err)
	}
	_, err = next.WriteString(config.Data["config.yaml"])
	if err := errors.Join(err, next.Close(), os.Rename(next.Name(), path)); err != nil {
		return "", fmt.Errorf("write configuration: %w", err)
	}
	return path, nil
}

// commandLine is what kubelet makes of a container's args and env.
func commandLine(container *corev1.Container) (args, env []string) {
	var pairs []string
	for _, variable := range container.Env {
		value := variable.Value
		if from := variable.ValueFrom; from != nil && from.FieldRef.FieldPath == "metadata.namespace" {
			value = systemNamespace
		}
		env = append(env, variable.Name+"="+value)
		pairs = append(pairs, "$("+variable.Name+")", value)
	}
	expand := strings.NewReplacer(pairs...)
	for _, arg := range container.Args {
		args = append(args, expand.Replace(arg))
	}
	return args, env
}

// waitReady waits for /readyz.
func (p *process) waitReady(ctx context.Context) error {
	err := p.until(ctx, func() error {
		_, err := get(ctx, "http://"+p.health+"/readyz")
		return err
	})
	if err != nil {
		return fmt.Errorf("wait for readyz: %w", err)
	}
	return nil
}

// until polls for a minute, or as long as the process lives.
func (p *process) until(ctx context.Context, check func() error) error {
	return poll(ctx, time.Minute, func() error {
		err := check()
		select {
		case <-p.exited:
			return final{fmt.Errorf("%s ended: %s", p.name, p.cmd.ProcessState)}
		default:
			return err
		}
	})
}

// kill ends the process as a lost node does: no drain, no goodbye.
func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	<-p.exited
}

// Ports of processes that tests start. They are below those from which connections start, and
// none is given away twice, so that nobody takes one before the process listens there.
const (
	firstPort = 20_000
	lastPort  = 32_000
)

// portsGiven is how many ports were given away or found taken.
var portsGiven atomic.Int32

// freeAddresses returns n loopback addresses nobody listens on.
func freeAddresses(n int) ([]string, error) {
	var addresses []string
	for len(addresses) < n {
		port := firstPort + portsGiven.Add(1)
		if port > lastPort {
			return nil, fmt.Errorf("no port from %d to %d is left", firstPort, lastPort)
		}
		address := fmt.Sprintf("127.0.0.1:%d", port)
		listener, err := net.Listen("tcp", address)
		if err != nil {
			continue // somebody else's
		}
		if err := listener.Close(); err != nil {
			return nil, fmt.Errorf("close %s: %w", address, err)
		}
		addresses = append(addresses, address)
	}
	return addresses, nil
}

// get returns the body of a 200 answer.
func get(ctx context.Context, url string) (string, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return "", err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("GET %s: %s: %s", url, response.Status, body)
	}
	return string(body), err
}
