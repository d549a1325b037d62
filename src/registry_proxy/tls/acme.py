"""ACME client (RFC 8555) on certbot's library. It blocks, so call it in a thread."""

from __future__ import annotations

import base64
import contextlib
import datetime
import ssl
import threading
from typing import TYPE_CHECKING, Any

from acme import challenges, client, errors, messages
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from josepy.errors import Error as JoseError
from josepy.jwa import ES256

from registry_proxy import __version__
from registry_proxy.policy.renewal import Span
from registry_proxy.tls.account import Account
from registry_proxy.tls.acme_problems import explain
from registry_proxy.tls.challenges import private_pem
from registry_proxy.tls.issuer import CertificateAuthority, Issued, IssueError, RenewalSuggestion

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from josepy.jwk import JWK, JWKEC

    from registry_proxy.tls.challenges import Challenges

# Seconds: for one request, and for all polling until one certificate is issued.
_REQUEST_TIMEOUT = 30
_ORDER_TIMEOUT = 120
# RFC 8555, section 6.5: repeat a request if the server rejects its nonce.
_NONCE_ATTEMPTS = 5
# Raised by the library if a response lacks a field, or if a field has another type.
_MALFORMED = (AttributeError, LookupError, TypeError, ValueError)


def read_directory(ca: CertificateAuthority) -> None:
    """Read the directory of an ACME server, to see that it is one. Raise IssueError."""
    with _connected(ca, "tls-alpn-01") as network:
        client.ClientV2.get_directory(ca.directory, network)["newNonce"]


@contextlib.contextmanager
def _connected(ca: CertificateAuthority, challenge: str) -> Iterator[_Network]:
    """Open a connection for one operation, and translate errors into IssueError."""
    network = _Network(ca.root, challenge)
    try:
        yield network
    except (errors.Error, JoseError, OSError, *_MALFORMED) as error:
        raise explain(error, ca.directory, network.challenge, network.retry_after) from error
    finally:
        network.session.close()


class AcmeClient:
    """The `Issuer` for ACME. `account_file` stores the account's key and URL."""

    def __init__(self, ca: CertificateAuthority, account_file: Path, pending: Challenges) -> None:
        self._ca = ca
        self._account_file = account_file
        self._pending = pending
        self._account_lock = threading.Lock()

    def issue(self, hostname: str, challenge_types: Sequence[str]) -> Issued:
        """Return a new key and its certificate (see `Issuer`). Raise IssueError."""
        with _connected(self._ca, challenge_types[0]) as network:
            key = ec.generate_private_key(ec.SECP256R1())
            session = self._session(network)
            order = self._order(session, _request_for(hostname, key))
            with contextlib.ExitStack() as answers:
                for authorization in order.authorizations:
                    # The CA may reuse an earlier validation of the host name.
                    if authorization.body.status == messages.STATUS_PENDING:
                        body = _select(authorization.body, challenge_types)
                        network.challenge = body.chall.typ
                        answers.callback(self._answer(session, body, hostname).unlink)
                deadline = datetime.datetime.now() + datetime.timedelta(seconds=_ORDER_TIMEOUT)  # noqa: DTZ005
                order = session.poll_and_finalize(order, deadline)
            return Issued(private_pem(key) + order.fullchain_pem.encode(), network.challenge)

    def renewal_suggestion(self, certificate: x509.Certificate) -> RenewalSuggestion:
        """Return when the CA suggests renewing `certificate`, if it supports that. Raise IssueError."""
        with _connected(self._ca, "tls-alpn-01") as network:
            directory = client.ClientV2.get_directory(self._ca.directory, network)
            identifier = _renewal_identifier(certificate)
            if identifier is None or not hasattr(directory, "renewalInfo"):
                return RenewalSuggestion(None, None)
            response = network.get(f"{directory['renewalInfo'].rstrip('/')}/{identifier}")
            window = messages.RenewalInfo.from_json(response.json()).suggested_window
            return RenewalSuggestion(
                Span(window.start.timestamp(), window.end.timestamp()), network.retry_after
            )

    def _session(self, network: _Network) -> client.ClientV2:
        """Return a session with the CA, with an account. Register the account if it is new."""
        session = client.ClientV2(client.ClientV2.get_directory(self._ca.directory, network), network)
        with self._account_lock:
            account = Account.load(self._account_file)
            network.key = account.key
            if account.address is None:
                self._register(session, account.key)
            else:
                network.account = _resource(account.address)
        return session

    def _register(self, session: client.ClientV2, key: JWKEC) -> None:
        ca, terms = self._ca, session.directory.meta.terms_of_service
        if terms and not ca.agree_tos:
            raise IssueError(
                f"the CA requires consent to its terms, {terms}. Read them and set tls.agree_tos = true."
            )
        binding = None
        if ca.eab_kid is not None and ca.eab_hmac_key is not None:
            binding = messages.ExternalAccountBinding.from_data(
                key.public_key(), ca.eab_kid, ca.eab_hmac_key, session.directory
            )
        registration = messages.NewRegistration.from_data(
            email=ca.email,
            external_account_binding=binding,
            terms_of_service_agreed=ca.agree_tos or None,
        )
        session.net.account = None
        try:
            address = session.new_account(registration).uri
        except errors.ConflictError as known:
            address = known.location
        session.net.account = _resource(address)
        Account(key, address).save(self._account_file)

    def _order(self, session: client.ClientV2, request: bytes) -> messages.OrderResource:
        try:
            return session.new_order(request)
        except messages.Error as error:
            if error.code != "accountDoesNotExist":
                raise
        # The CA has lost the account, or another CA has replaced it.
        with self._account_lock:
            self._register(session, Account.load(self._account_file).key)
        return session.new_order(request)

    def _answer(self, session: client.ClientV2, body: messages.ChallengeBody, hostname: str) -> Path:
        """Answer the challenge and return its file."""
        key = session.net.key
        text = body.chall.key_authorization(key)
        if body.chall.typ == "http-01":
            path = self._pending.put_http(body.chall.encode("token"), text)
        else:
            path = self._pending.put_tls(hostname, text)
        try:
            session.answer_challenge(body, body.chall.response(key))
        except BaseException:
            path.unlink()
            raise
        return path


@challenges.ChallengeResponse.register
class _TlsAlpn01Response(challenges.KeyAuthorizationChallengeResponse):
    typ = "tls-alpn-01"


@challenges.Challenge.register
class _TlsAlpn01(challenges.KeyAuthorizationChallenge):
    """The challenge of RFC 8737, which the library has dropped."""

    typ = "tls-alpn-01"
    response_cls = _TlsAlpn01Response

    def validation(self, account_key: JWK, **_: Any) -> str:
        return self.key_authorization(account_key)


class _Network(client.ClientNetwork):
    """HTTP client that signs with ES256, which every CA supports (RFC 8555, section 6.2), and records `Retry-After`.

    `challenge` is the type of the challenge in progress, or of the preferred one.
    """

    def __init__(self, ca_root: Path | None, challenge: str) -> None:
        super().__init__(alg=ES256, user_agent=f"registry-proxy/{__version__}", timeout=_REQUEST_TIMEOUT)
        self.verify_ssl: Any = str(ca_root) if ca_root else _system_trust()
        self.retry_after: float | None = None
        self.challenge = challenge

    def _send_request(self, method: str, url: str, *args: Any, **kwargs: Any) -> Any:
        response = super()._send_request(method, url, *args, **kwargs)
        seconds = response.headers.get("Retry-After", "")
        self.retry_after = float(seconds) if seconds.isascii() and seconds.isdigit() else None
        return response

    def post(self, *args: Any, **kwargs: Any) -> Any:
        for _ in range(_NONCE_ATTEMPTS - 1):
            try:
                return self._post_once(*args, **kwargs)
            except messages.Error as error:
                if error.code != "badNonce":
                    raise
        return self._post_once(*args, **kwargs)


def _select(authorization: messages.Authorization, challenge_types: Sequence[str]) -> messages.ChallengeBody:
    """Return the first challenge of these types that the CA offers. Raise IssueError."""
    # Not `chall.typ`, which challenges that the library does not know lack.
    offered = {str(body.chall.to_partial_json()["type"]): body for body in authorization.challenges}
    for name in challenge_types:
        if name in offered:
            return offered[name]
    raise IssueError(
        f"the CA offers only {', '.join(sorted(offered)) or 'no challenge'} for this host name, and this server"
        f" responds to {', '.join(challenge_types)}. Change tls.challenges, or use another CA."
    )


def _system_trust() -> str | bool:
    """Return the operating system's root certificates; SSL_CERT_FILE and SSL_CERT_DIR are honoured."""
    paths = ssl.get_default_verify_paths()
    return paths.cafile or paths.capath or True


def _resource(address: str) -> messages.RegistrationResource:
    return messages.RegistrationResource(body=messages.Registration(), uri=address)


def _request_for(hostname: str, key: ec.EllipticCurvePrivateKey) -> bytes:
    names = x509.SubjectAlternativeName([x509.DNSName(hostname)])
    builder = x509.CertificateSigningRequestBuilder(x509.Name([])).add_extension(names, critical=False)
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def _renewal_identifier(certificate: x509.Certificate) -> str | None:
    """Return the certificate's identifier: issuer key and DER serial number (RFC 9773, section 4.1)."""
    try:
        issuer = certificate.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value
    except x509.ExtensionNotFound:
        return None
    if issuer.key_identifier is None:
        return None
    serial = certificate.serial_number
    parts = issuer.key_identifier, serial.to_bytes(serial.bit_length() // 8 + 1, "big")
    return ".".join(base64.urlsafe_b64encode(part).decode().rstrip("=") for part in parts)
