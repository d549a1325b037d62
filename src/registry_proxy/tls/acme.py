"""An ACME server's client (RFC 8555) on certbot's library. It blocks: it is for threads."""

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
from registry_proxy.tls.challenges import private_pem
from registry_proxy.tls.issuer import Authority, IssueError, Suggestion
from registry_proxy.tls.problems import explain

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from josepy.jwk import JWK, JWKEC

    from registry_proxy.tls.challenges import Challenges

# Seconds: one request's, and that of all polling for one certificate.
_REQUEST_TIMEOUT = 30
_ORDER_TIMEOUT = 120
# RFC 8555, section 6.5: a nonce that is refused is no failure.
_NONCE_ATTEMPTS = 5
# What the library raises when an answer lacks a part, or has another in its place.
_MALFORMED = (AttributeError, LookupError, TypeError, ValueError)


class AcmeClient:
    """Orders certificates; an `Issuer`. `account_file` keeps the account's key and address."""

    def __init__(self, authority: Authority, account_file: Path, pending: Challenges) -> None:
        self._authority = authority
        self._account_file = account_file
        self._pending = pending
        self._account_lock = threading.Lock()

    def issue(self, hostname: str, challenge: str) -> bytes:
        """Key, certificate and intermediates for `hostname` in PEM, proven by `challenge`. Raises IssueError."""
        with self._connected(challenge) as network:
            key = ec.generate_private_key(ec.SECP256R1())
            session = self._session(network)
            order = self._order(session, _request_for(hostname, key))
            with contextlib.ExitStack() as answers:
                for authorization in order.authorizations:
                    # The server may remember that the name was proven before.
                    if authorization.body.status == messages.STATUS_PENDING:
                        answers.callback(
                            self._answer(session, authorization.body, hostname, challenge).unlink
                        )
                deadline = datetime.datetime.now() + datetime.timedelta(seconds=_ORDER_TIMEOUT)  # noqa: DTZ005
                order = session.poll_and_finalize(order, deadline)
            return private_pem(key) + order.fullchain_pem.encode()

    def suggestion(self, certificate: x509.Certificate) -> Suggestion:
        """When the server wants `certificate` renewed, if it has a say in that. Raises IssueError."""
        with self._connected("tls-alpn-01") as network:
            directory = client.ClientV2.get_directory(self._authority.directory, network)
            identifier = _renewal_identifier(certificate)
            if identifier is None or not hasattr(directory, "renewalInfo"):
                return Suggestion(None, None)
            answer = network.get(f"{directory['renewalInfo'].rstrip('/')}/{identifier}")
            window = messages.RenewalInfo.from_json(answer.json()).suggested_window
            return Suggestion(Span(window.start.timestamp(), window.end.timestamp()), network.retry_after)

    @contextlib.contextmanager
    def _connected(self, challenge: str) -> Iterator[_Network]:
        """A connection of its own for each piece of work, and its errors as IssueError."""
        network = _Network(self._authority.ca_root)
        try:
            yield network
        except (errors.Error, JoseError, OSError, *_MALFORMED) as error:
            raise explain(error, self._authority.directory, challenge, network.retry_after) from error
        finally:
            network.session.close()

    def _session(self, network: _Network) -> client.ClientV2:
        """The server, with our account at it, which is made if there is none."""
        session = client.ClientV2(client.ClientV2.get_directory(self._authority.directory, network), network)
        with self._account_lock:
            account = Account.load(self._account_file)
            network.key = account.key
            if account.address is None:
                self._register(session, account.key)
            else:
                network.account = _resource(account.address)
        return session

    def _register(self, session: client.ClientV2, key: JWKEC) -> None:
        authority, terms = self._authority, session.directory.meta.terms_of_service
        if terms and not authority.agree_tos:
            raise IssueError(
                f"the authority asks for consent to {terms}. Read it and set tls.agree_tos = true."
            )
        binding = None
        if authority.eab_kid is not None and authority.eab_hmac_key is not None:
            binding = messages.ExternalAccountBinding.from_data(
                key.public_key(), authority.eab_kid, authority.eab_hmac_key, session.directory
            )
        registration = messages.NewRegistration.from_data(
            email=authority.email,
            external_account_binding=binding,
            terms_of_service_agreed=authority.agree_tos or None,
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
        # The server has lost it, or was replaced by another one.
        with self._account_lock:
            self._register(session, Account.load(self._account_file).key)
        return session.new_order(request)

    def _answer(
        self, session: client.ClientV2, authorization: messages.Authorization, hostname: str, kind: str
    ) -> Path:
        """Answer the challenge; the file that does it."""
        body = next((each for each in authorization.challenges if each.chall.typ == kind), None)
        if body is None:
            raise IssueError(f"the authority offers no {kind} for this name. Change tls.challenges.")
        key = session.net.key
        text = body.chall.key_authorization(key)
        if kind == "http-01":
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
    """RFC 8737; the library no longer has it."""

    typ = "tls-alpn-01"
    response_cls = _TlsAlpn01Response

    def validation(self, account_key: JWK, **_: Any) -> str:
        return self.key_authorization(account_key)


class _Network(client.ClientNetwork):
    """Signs with ES256, which every server knows (RFC 8555, section 6.2), and remembers what `Retry-After` said."""

    def __init__(self, ca_root: Path | None) -> None:
        super().__init__(alg=ES256, user_agent=f"registry-proxy/{__version__}", timeout=_REQUEST_TIMEOUT)
        self.verify_ssl: Any = str(ca_root) if ca_root else _system_trust()
        self.retry_after: float | None = None

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


def _system_trust() -> str | bool:
    """The operating system's authorities; SSL_CERT_FILE and SSL_CERT_DIR are honoured."""
    paths = ssl.get_default_verify_paths()
    return paths.cafile or paths.capath or True


def _resource(address: str) -> messages.RegistrationResource:
    return messages.RegistrationResource(body=messages.Registration(), uri=address)


def _request_for(hostname: str, key: ec.EllipticCurvePrivateKey) -> bytes:
    names = x509.SubjectAlternativeName([x509.DNSName(hostname)])
    builder = x509.CertificateSigningRequestBuilder(x509.Name([])).add_extension(names, critical=False)
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def _renewal_identifier(certificate: x509.Certificate) -> str | None:
    """RFC 9773, section 4.1: the issuer's key and the serial number, as DER has it."""
    try:
        issuer = certificate.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value
    except x509.ExtensionNotFound:
        return None
    if issuer.key_identifier is None:
        return None
    serial = certificate.serial_number
    parts = issuer.key_identifier, serial.to_bytes(serial.bit_length() // 8 + 1, "big")
    return ".".join(base64.urlsafe_b64encode(part).decode().rstrip("=") for part in parts)
