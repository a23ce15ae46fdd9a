package plugin

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tidelay/tidelay/pkg/apis/v1alpha1"
	"github.com/tidelay/tidelay/pkg/plugin/agents"
	"github.com/tidelay/tidelay/pkg/plugin/look"
	"github.com/tidelay/tidelay/pkg/plugin/object"
	"github.com/tidelay/tidelay/pkg/plugin/report"
)

// letGo is when agents let go that are not told from here.
const letGo = "they let go as soon as the controller tells them, and at the latest in 5 minutes by themselves"

// endParts has the agents let go of objects whose TidbClusters have others that stay. Only the
// controller can tell them: what stays is compiled anew.
func (c *clearing) endParts(ctx context.Context, parts []client.Object) {
	var clusters []string
	for _, o := range parts {
		if cluster := object.Cluster(o); object.Life(o).Phase == v1alpha1.Running && !slices.Contains(clusters, cluster) {
			clusters = append(clusters, cluster)
		}
	}
	if len(clusters) == 0 || c.dryRun {
		return
	}
	if !c.wait {
		c.say("agents let go of what was in force as soon as the controller tells them, and at the latest in 5 minutes by themselves")
		return
	}
	for _, cluster := range clusters {
		c.awaitPart(ctx, types.NamespacedName{Namespace: c.namespace, Name: cluster})
	}
}

// awaitPart waits until the agents of a TidbCluster hold nothing that nothing asks for.
func (c *clearing) awaitPart(ctx context.Context, cluster types.NamespacedName) {
	deadline := time.NewTimer(c.timeout)
	defer deadline.Stop()
	tick := time.NewTicker(c.Poll)
	defer tick.Stop()
	for {
		isOver, so := c.lookAtPart(ctx, cluster)
		if isOver {
			return
		}
		select {
		case <-ctx.Done():
		case <-deadline.C:
		case <-tick.C:
			continue
		}
		if ctx.Err() != nil {
			so = fmt.Sprintf("%v: it is not known whether agents of %s have let go; %s", errInterrupted, cluster.Name, letGo)
		}
		c.fail("%s", so)
		return
	}
}

// lookAtPart looks once at what agents hold. It reports whether there is nothing more to wait
// for, and else says how it is. The API server may answer a moment later.
func (c *clearing) lookAtPart(ctx context.Context, cluster types.NamespacedName) (isOver bool, so string) {
	seen, err := c.look(ctx, c.connection, cluster)
	if err != nil {
		so = fmt.Sprintf("%v; so it is not known whether agents have let go", err)
		if _, isGone := errors.AsType[*look.NotFound](err); isGone {
			c.fail("%s", so)
			return true, ""
		}
		return false, so
	}
	r := report.Of(report.Input{Cluster: seen, Replies: agents.Statuses(ctx, c.connection.asker(endTime), seen.Answering()), Now: c.Now()})
	left, silent := r.Left()
	switch {
	case ctx.Err() != nil: // then agents have not answered
		return false, ""
	case len(r.Unseen) > 0:
		c.say("what agents hold is not known: %s; %s", r.Unseen[0], letGo)
		return true, ""
	case len(left) > 0:
		return false, fmt.Sprintf("agents of %s still hold it: does the controller run? It ends there by itself, at the latest in 5 minutes, and with all else of the TidbCluster by: kubectl tidelay clear -n %s %s",
			strings.Join(left, ", "), cluster.Namespace, cluster.Name)
	}
	c.partDone(silent)
	return true, ""
}

// partDone says that the agents that answer have let go.
func (c *clearing) partDone(silent []string) {
	if len(silent) > 0 {
		c.fail("%s: the agent does not say what it holds; %s", strings.Join(silent, ", "), c.lasts())
		return
	}
	c.say("agents hold nothing of it any more")
}
