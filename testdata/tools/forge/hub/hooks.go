package hub

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// hookPath is where Gitea's own webhooks arrive.
const hookPath = "/-/forge/webhook"

// giteaEvents are the deliveries that the proxy asks Gitea for.
var giteaEvents = []string{"create", "delete", "push", "status", "pull_request", "pull_request_sync",
	"pull_request_review", "pull_request_review_approved", "pull_request_review_rejected", "pull_request_review_comment",
	"issue_comment", "pull_request_comment"}

// hook is a webhook that somebody made as on GitHub.
type hook struct {
	ID     int64    `json:"id"`
	Type   string   `json:"type"`
	Name   string   `json:"name"`
	Active bool     `json:"active"`
	Events []string `json:"events"`
	Config struct {
		URL         string `json:"url"`
		ContentType string `json:"content_type"`
		Secret      string `json:"secret,omitempty"`
		InsecureSSL string `json:"insecure_ssl"`
	} `json:"config"`
	repository string
}

// shown is the hook without its secret.
func (h hook) shown() hook {
	if h.Config.Secret != "" {
		h.Config.Secret = "********"
	}
	return h
}

// delivery is what one hook gets.
type delivery struct {
	to        hook
	event, id string
	body      []byte
}

// hooks passes Gitea's webhooks on in GitHub's form, in the order in which they
// arrive. Like GitHub it does not repeat what failed.
type hooks struct {
	secret string // Gitea's
	log    *log.Logger
	queue  chan delivery
	ended  chan struct{}
	ctx    context.Context
	cancel context.CancelFunc

	mu     sync.Mutex
	hooks  []hook     // guarded by mu
	last   int64      // guarded by mu
	pushes []activity // oldest first; guarded by mu
}

const (
	maxQueue        = 1000
	deliverDeadline = 10 * time.Second // GitHub's
)

func newHooks(secret string, logger *log.Logger) *hooks {
	h := &hooks{secret: secret, log: logger, queue: make(chan delivery, maxQueue), ended: make(chan struct{})}
	h.ctx, h.cancel = context.WithCancel(context.Background())
	go h.deliverAll()
	return h
}

// close drops what is not delivered yet.
func (h *hooks) close() {
	h.cancel()
	<-h.ended
}

func (h *hooks) deliverAll() {
	defer close(h.ended)
	for {
		select {
		case <-h.ctx.Done():
			return
		case d := <-h.queue:
			if err := d.send(h.ctx); err != nil {
				h.log.Printf("webhook %s to %s: %v", d.event, d.to.Config.URL, err)
			}
		}
	}
}

func (d delivery) send(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, deliverDeadline)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, d.to.Config.URL, bytes.NewReader(d.body))
	if err != nil {
		return err
	}
	for name, value := range map[string]string{
		"Content-Type": "application/json", "User-Agent": "GitHub-Hookshot/forge",
		"X-GitHub-Event": d.event, "X-GitHub-Delivery": d.id, "X-GitHub-Hook-ID": strconv.FormatInt(d.to.ID, 10),
	} {
		request.Header.Set(name, value)
	}
	if secret := []byte(d.to.Config.Secret); len(secret) > 0 {
		old, current := hmac.New(sha1.New, secret), hmac.New(sha256.New, secret)
		io.MultiWriter(old, current).Write(d.body)
		request.Header.Set("X-Hub-Signature", "sha1="+hex.EncodeToString(old.Sum(nil)))
		request.Header.Set("X-Hub-Signature-256", "sha256="+hex.EncodeToString(current.Sum(nil)))
	}
	response, err := direct.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	io.Copy(io.Discard, io.LimitReader(response.Body, maxBody))
	if response.StatusCode >= 400 {
		return fmt.Errorf("answered %s", response.Status)
	}
	return nil
}

// receiver takes Gitea's webhooks; nobody else can sign them.
func (h *hooks) receiver(p *proxy) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		sum := hmac.New(sha256.New, []byte(h.secret))
		sum.Write(body)
		if signed, err := hex.DecodeString(r.Header.Get("X-Gitea-Signature")); err != nil || !hmac.Equal(signed, sum.Sum(nil)) {
			http.Error(w, "not signed by Gitea", http.StatusForbidden)
			return
		}
		if err := h.receive(r, body, p.client); err != nil {
			p.log.Printf("webhook %s of Gitea: %v", r.Header.Get("X-Gitea-Event"), err)
			http.Error(w, err.Error(), http.StatusBadRequest)
		}
	})
}

func (h *hooks) receive(r *http.Request, body []byte, c client) error {
	value, err := decode(body)
	if err != nil {
		return err
	}
	payload, _ := value.(object)
	if payload == nil {
		return fmt.Errorf("the payload is no object")
	}
	event := translate(r.Header.Get("X-Gitea-Event"), payload)
	if event == "push" {
		h.record(payload)
	}
	if event == "" {
		return nil
	}
	data, err := json.Marshal(payload)
	if err != nil {
		return err
	}
	data = bytes.ReplaceAll(data, []byte(c.public+"/api/v1/"), []byte(c.public+prefix+"/"))
	name, _ := dig(payload, "repository", "full_name").(string)
	return h.send(name, event, r.Header.Get("X-Gitea-Delivery"), data)
}

// send queues a delivery for every hook of the repository that wants the event.
func (h *hooks) send(repository, event, id string, body []byte) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, to := range h.hooks {
		if to.repository != repository || !to.Active || !slices.Contains(to.Events, event) && !slices.Contains(to.Events, "*") {
			continue
		}
		if err := h.enqueue(delivery{to, event, id, body}); err != nil {
			return err
		}
	}
	return nil
}

func (h *hooks) enqueue(d delivery) error {
	select {
	case h.queue <- d:
		return nil
	default:
		return fmt.Errorf("%d deliveries wait already", maxQueue)
	}
}

// add makes a hook, and sends it a ping as GitHub does.
func (h *hooks) add(repository string, made hook) (hook, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.last++
	made.ID, made.Type, made.Name, made.repository = h.last, "Repository", "web", repository
	if len(made.Events) == 0 {
		made.Events = []string{"push"}
	}
	h.hooks = append(h.hooks, made)
	ping, err := json.Marshal(object{"zen": "Speak like a human.", "hook_id": made.ID, "hook": made.shown()})
	if err != nil {
		return made, err
	}
	return made, h.enqueue(delivery{made, "ping", random()[:32], ping})
}

func (c *call) repositoryName() string {
	return c.request.PathValue("owner") + "/" + c.request.PathValue("repo")
}

// administers answers with what Gitea says to a request that only an
// administrator of the repository may make.
func (c *call) administers() (reply, error) {
	return c.gitea(http.MethodGet, c.repo()+"/hooks", nil, nil)
}

func createHook(c *call) (reply, error) {
	if r, err := c.administers(); err != nil || !r.ok() {
		return r, err
	}
	made := hook{Active: true}
	data, err := json.Marshal(c.body)
	if err != nil {
		return reply{}, err
	}
	if err := json.Unmarshal(data, &made); err != nil {
		return failure(http.StatusUnprocessableEntity, "Validation Failed: %v", err), nil
	}
	address, err := url.Parse(made.Config.URL)
	if err != nil || address.Host == "" || made.Config.ContentType != "json" {
		return failure(http.StatusUnprocessableEntity, "Validation Failed: a hook needs a url and the content_type json"), nil
	}
	made, err = c.hooks.add(c.repositoryName(), made)
	return reply{status: http.StatusCreated, body: made.shown()}, err
}

func listHooks(c *call) (reply, error) {
	if r, err := c.administers(); err != nil || !r.ok() {
		return r, err
	}
	c.hooks.mu.Lock()
	defer c.hooks.mu.Unlock()
	found := list{}
	for _, h := range c.hooks.hooks {
		if h.repository == c.repositoryName() {
			found = append(found, h.shown())
		}
	}
	return c.page(found), nil
}

func deleteHook(c *call) (reply, error) {
	if r, err := c.administers(); err != nil || !r.ok() {
		return r, err
	}
	c.hooks.mu.Lock()
	defer c.hooks.mu.Unlock()
	before := len(c.hooks.hooks)
	c.hooks.hooks = slices.DeleteFunc(c.hooks.hooks, func(h hook) bool {
		return h.repository == c.repositoryName() && strconv.FormatInt(h.ID, 10) == c.request.PathValue("id")
	})
	if len(c.hooks.hooks) == before {
		return failure(http.StatusNotFound, "Not Found"), nil
	}
	return reply{status: http.StatusNoContent}, nil
}

// activity is one change of a branch, as GitHub lists it.
type activity struct {
	ID         int64  `json:"id"`
	NodeID     string `json:"node_id"`
	Before     string `json:"before"`
	After      string `json:"after"`
	Ref        string `json:"ref"`
	Timestamp  string `json:"timestamp"`
	Kind       string `json:"activity_type"`
	Actor      object `json:"actor"`
	repository string
}

// record keeps a push. Gitea's own list of activities has neither what was
// before it nor what was after.
func (h *hooks) record(payload object) {
	text := func(name string) string { t, _ := payload[name].(string); return t }
	a := activity{Before: text("before"), After: text("after"), Ref: text("ref"), Kind: "push",
		Timestamp: time.Now().UTC().Format(time.RFC3339)}
	a.repository, _ = dig(payload, "repository", "full_name").(string)
	a.Actor, _ = payload["sender"].(object)
	switch {
	case strings.Trim(a.Before, "0") == "":
		a.Kind = "branch_creation"
	case strings.Trim(a.After, "0") == "":
		a.Kind = "branch_deletion"
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	a.ID = int64(len(h.pushes) + 1)
	a.NodeID = fmt.Sprint("PSH_", a.ID)
	h.pushes = append(h.pushes, a)
}

// activities lists the pushes, the latest first, by pages that a cursor leads through.
func activities(c *call) (reply, error) {
	if r, err := c.gitea(http.MethodGet, c.repo(), nil, nil); err != nil || !r.ok() {
		return r, err
	}
	size, after := min(atoi(c.query.Get("per_page"), 30), 100), atoi(c.query.Get("after"), 0)
	c.hooks.mu.Lock()
	defer c.hooks.mu.Unlock()
	found, more := list{}, http.Header{}
	for _, a := range slices.Backward(c.hooks.pushes) {
		wanted := c.query.Get("ref")
		if a.repository != c.repositoryName() || after > 0 && a.ID >= int64(after) ||
			wanted != "" && wanted != a.Ref && "refs/heads/"+wanted != a.Ref {
			continue
		}
		if len(found) == size {
			query := clone(c.query)
			query.Set("after", strconv.FormatInt(found[size-1].(activity).ID, 10))
			more.Set("Link", "<"+c.client.public+c.request.URL.Path+"?"+query.Encode()+`>; rel="next"`)
			break
		}
		found = append(found, a)
	}
	return reply{status: http.StatusOK, header: more, body: found}, nil
}
