package terraform

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"time"
)

// lockBody is what engines tell a state server, and are told by it, of a lock.
type lockBody struct {
	ID, Operation, Info, Who, Version, Path string
	Created                                 time.Time
}

// httpBackend is what is used of the arguments of the backend "http".
type httpBackend struct {
	Lock         string `json:"lock_address"`
	LockMethod   string `json:"lock_method"`
	Unlock       string `json:"unlock_address"`
	UnlockMethod string `json:"unlock_method"`
	Username     string `json:"username"`
	Password     string `json:"password"`
	// With these a request needs more than is done here.
	Certificate any `json:"client_certificate_pem"`
	Authority   any `json:"client_ca_certificate_pem"`
	Unverified  any `json:"skip_cert_verification"`
}

// askHolder asks the server of the backend "http" who has the lock, as an engine
// does that wants it. Where that cannot be learnt, the lock is as it was.
func (e *execution) askHolder(ctx context.Context, l *lockedError) *lockedError {
	var file struct {
		Terraform struct {
			Backend struct{ HTTP httpBackend }
		}
	}
	if json.Unmarshal(e.job.Rendering.Generated, &file) != nil {
		return l
	}
	b := file.Terraform.Backend.HTTP
	b.Lock, b.Unlock = cmp.Or(b.Lock, e.env["TF_HTTP_LOCK_ADDRESS"]), cmp.Or(b.Unlock, e.env["TF_HTTP_UNLOCK_ADDRESS"])
	b.Username, b.Password = cmp.Or(b.Username, e.env["TF_HTTP_USERNAME"]), cmp.Or(b.Password, e.env["TF_HTTP_PASSWORD"])
	if b.Lock == "" || b.Certificate != nil || b.Authority != nil || b.Unverified != nil {
		return l
	}
	want, err := json.Marshal(lockBody{ID: e.job.ID, Operation: "Pave asks who has the lock", Who: whoami(), Created: time.Now().UTC()})
	if err != nil {
		return l
	}
	status, answer := b.ask(ctx, cmp.Or(b.LockMethod, "LOCK"), b.Lock, want)
	switch status {
	case http.StatusOK: // nobody has it any more
		b.ask(ctx, cmp.Or(b.UnlockMethod, "UNLOCK"), b.Unlock, want)
	case http.StatusConflict, http.StatusLocked:
		var holder lockBody
		if json.Unmarshal(answer, &holder) == nil && holder.ID == l.id {
			return &lockedError{id: holder.ID, who: holder.Who, operation: holder.Operation, created: holder.Created, err: l.err}
		}
	}
	return l
}

func (b httpBackend) ask(ctx context.Context, method, address string, body []byte) (status int, answer []byte) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, method, address, bytes.NewReader(body))
	if err != nil {
		return 0, nil
	}
	request.Header.Set("Content-Type", "application/json")
	if b.Username != "" {
		request.SetBasicAuth(b.Username, b.Password)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, nil
	}
	defer response.Body.Close()
	answer, _ = io.ReadAll(io.LimitReader(response.Body, 1<<20))
	return response.StatusCode, answer
}
