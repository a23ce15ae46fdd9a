//go:build e2e

package cluster

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// user is somebody with a kubeconfig.
type user struct{ kubeconfig string }

// command returns kubectl as the user calls it, in a namespace.
func (u user) command(ctx context.Context, namespace string, args ...string) *exec.Cmd {
	if args[0] == "tidelay" { // kubectl takes no flags before the name of a plugin
		args = append([]string{"tidelay", "-n", namespace}, args[1:]...)
	} else {
		args = append([]string{"-n", namespace}, args...)
	}
	command := exec.CommandContext(ctx, kubectl, args...)
	command.Env = append(os.Environ(), "KUBECONFIG="+u.kubeconfig)
	return command
}

// users returns who has which roles in the namespace, and no rights beyond it:
// the viewer has Kubernetes' own role view, and the operator the role tidelay-operator too.
func (w *world) users(ctx context.Context, t *testing.T) map[string]user {
	t.Helper()
	return map[string]user{
		"viewer":   w.account(ctx, t, "viewer", clusterRole("view")),
		"operator": w.account(ctx, t, "operator", clusterRole("view"), clusterRole("tidelay-operator")),
	}
}

func clusterRole(name string) rbacv1.RoleRef {
	return rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: name}
}

// account makes a service account with roles in the namespace, and returns its user. It is gone
// when the test ends.
func (w *world) account(ctx context.Context, t *testing.T, name string, roles ...rbacv1.RoleRef) user {
	t.Helper()
	w.make(ctx, t, &corev1.ServiceAccount{ObjectMeta: w.named(name)})
	for _, role := range roles {
		w.bind(ctx, t, name+"-"+role.Name, role, rbacv1.Subject{Kind: rbacv1.ServiceAccountKind, Name: name, Namespace: w.namespace})
	}
	return w.user(ctx, t, name)
}

// bind gives somebody a role in the namespace until the test ends.
func (w *world) bind(ctx context.Context, t *testing.T, name string, role rbacv1.RoleRef, to rbacv1.Subject) {
	t.Helper()
	w.make(ctx, t, &rbacv1.RoleBinding{ObjectMeta: w.named(name), RoleRef: role, Subjects: []rbacv1.Subject{to}})
}

// make makes an object for as long as the test runs.
func (w *world) make(ctx context.Context, t *testing.T, o object) {
	t.Helper()
	if err := w.Create(ctx, o); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.Delete(context.WithoutCancel(ctx), o); err != nil {
			t.Error(err)
		}
	})
}

// user returns the user of a service account, who may look at NetworkFaults.
func (w *world) user(ctx context.Context, t *testing.T, account string) user {
	t.Helper()
	token, err := w.kubectl(ctx, "", "create", "token", account)
	if err != nil {
		t.Fatalf("make a token: %v\n%s", err, token)
	}
	config, err := clientcmd.LoadFromFile(kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	config.AuthInfos = map[string]*clientcmdapi.AuthInfo{account: {Token: strings.TrimSpace(token)}}
	config.Contexts[config.CurrentContext].AuthInfo = account
	u := user{filepath.Join(t.TempDir(), account)}
	if err := clientcmd.WriteToFile(*config, u.kubeconfig); err != nil {
		t.Fatal(err)
	}
	err = w.poll(ctx, func(ctx context.Context) error { // roles take effect a moment later
		out, err := u.command(ctx, w.namespace, "auth", "can-i", "list", "networkfaults.tidelay.io").CombinedOutput()
		if err != nil {
			return fmt.Errorf("may %s list NetworkFaults: %w\n%s", account, err, out)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return u
}
